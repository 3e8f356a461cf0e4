import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "workflow/rules"],
        ["snakemake", "--lint"],
    ],
    ids=" ".join,
)
def test_code_is_clean(command):
    # snakefmt calls shfmt, which pip puts beside Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_scripts_logs_and_benchmarks_share_one_name():
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    for script in scripts:
        assert f'"$SCRIPTS"/{script}.py' in rules
    # The rules of the kinds of scorers are made in a loop.
    for part in ("name:\n            KIND.rule\n", "places.log(KIND.rule,", "places.benchmark(KIND.rule,"):
        assert part in rules
    for script in scripts - {"score_windows"}:
        assert f"\nrule {script}:" in rules or f"\ncheckpoint {script}:" in rules
        assert f'places.log("{script}"' in rules
        # An estimate makes no file, and runs whenever it is asked for.
        assert script == "estimate" or f'places.benchmark("{script}"' in rules
