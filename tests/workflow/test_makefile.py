"""make: what is given to it reaches the command as it stands."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path):
    """The Makefile beside a `longspan` that shows its arguments, one a line."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    program = tmp_path / ".venv" / "bin" / "longspan"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nfor argument; do printf "%s\\n" "$argument"; done\n')
    program.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "classics-00001_0000042",
        'books/it\'s "here"; touch pwned #1.txt',
        "$(shell touch pwned)`touch pwned`$$(touch pwned)${HOME}",
        "' ; touch pwned ; '",
        "--help",
        "a b\\c%d*",
    ],
)
def test_explain_gets_the_id_as_it_stands(installed, name):
    before = set(installed.iterdir())
    result = subprocess.run(
        ["make", "--silent", "explain", f"id={name}"],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == f"explain\n--\n{name}\n", result.stderr
    assert set(installed.iterdir()) == before
