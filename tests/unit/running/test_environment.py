"""What a job's shell finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from longspan.fetching.hub_token import VARIABLES
from longspan_workflow.running.environment import job_prelude

SHOW = "env -0"
ODD = "a 'b' \"c\" $HOME `x` \\\n\r é"


def shown(prelude: str, command: str, **environment: str) -> dict[str, str]:
    """The environment of a command behind a prelude."""
    script = f"set -euo pipefail; {prelude}\n{command}"
    given = {"PATH": os.environ["PATH"], "HOME": "/nowhere"} | environment
    result = subprocess.run(["bash", "-c", script], env=given, capture_output=True, check=True)
    pairs = result.stdout.decode().split("\0")[:-1]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_gives_the_hubs_token_reaches_only_what_asks_for_it(name):
    prelude = job_prelude(own_python=True)
    assert name not in shown(prelude, SHOW, **{name: ODD})
    given = shown(prelude, f"with_hub_token {SHOW}; {SHOW} >/dev/null", **{name: ODD})
    assert given[name] == ODD
    assert {other: given[other] for other in VARIABLES if other != name} == {
        other: "" for other in VARIABLES if other != name
    }
    # It is gone again behind that command.
    assert name not in shown(prelude, f"with_hub_token true; {SHOW}", **{name: ODD})


def test_an_empty_variable_is_none_to_the_hubs_library(monkeypatch):
    from huggingface_hub import get_token

    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    assert get_token() is None


def test_the_hubs_library_reads_no_other_variable():
    """A new way to a token would have to be taken away from jobs, too."""
    import re

    import huggingface_hub

    folder = Path(huggingface_hub.__file__).parent
    sources = "".join((folder / name).read_text() for name in ("utils/_auth.py", "_oidc.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", sources))
    assert read - {"GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL"} == set(VARIABLES)


def test_jobs_find_the_scripts_the_library_and_this_python():
    found = shown(job_prelude(own_python=True), SHOW, PYTHONPATH="/mine")
    assert (Path(found["SCRIPTS"]) / "train.py").is_file()
    library, mine = found["PYTHONPATH"].split(os.pathsep)
    assert (Path(library) / "longspan").is_dir()
    assert mine == "/mine"
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert found["PYTHONUTF8"] == "1"
    assert shown(job_prelude(own_python=False), SHOW)["PATH"] == os.environ["PATH"]
