"""The short form of the stress command."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(1500)
def test_ten_kills_leave_the_bytes_of_the_unbroken_run():
    command = [sys.executable, str(Path(__file__).with_name("kill.py")), "--kills", "10", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 kills" in result.stdout
