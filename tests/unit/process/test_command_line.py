import argparse
import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from safetensors import SafetensorError

from longspan.process.command_line import json_object, parser_for, run_script


def outcome(fault, capsys, monkeypatch):
    def main(argv):
        raise fault

    monkeypatch.setattr(sys, "argv", ["/some/where/score_short.py"])
    with pytest.raises(SystemExit) as stop:
        run_script(main)
    streams = capsys.readouterr()
    assert streams.out == ""
    return stop.value.code, streams.err


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ValueError("weights cover 997 of 1000 windows"), "weights cover 997 of 1000 windows"),
        (OSError("pip could not fetch it"), "pip could not fetch it"),
        (OSError(errno.ENOSPC, "no space left on the disk of x"), "no space left on the disk of x"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"),
            "[Errno 2] No such file or directory: 'a.txt'",
        ),
    ],
)
def test_a_fault_that_its_user_can_mend_is_one_line_and_code_1(fault, message, capsys, monkeypatch):
    monkeypatch.delenv("LONGSPAN_TRACEBACK", raising=False)
    assert outcome(fault, capsys, monkeypatch) == (1, f"score_short: error: {message}\n")


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def main(argv):
        raise KeyError("column")

    monkeypatch.setattr(sys, "argv", ["x.py"])
    with pytest.raises(KeyError):
        run_script(main)


class LibraryError(RuntimeError):
    """Stands for what pyarrow, safetensors or torch define."""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            OverflowError("int too large to convert to float"),
            "OverflowError: int too large to convert to float",
        ),
        (MemoryError(), "MemoryError"),
        (LibraryError("two\n\n  lines"), "LibraryError: two lines"),
        (Exception("data did not match any variant"), "Exception: data did not match any variant"),
        (pa.ArrowCapacityError("array too large"), "ArrowCapacityError: array too large"),
        (SafetensorError("header too large"), "SafetensorError: header too large"),
    ],
)
def test_a_fault_of_the_machine_or_a_library_is_one_line(fault, message, capsys, monkeypatch):
    monkeypatch.delenv("LONGSPAN_TRACEBACK", raising=False)
    line = f"score_short: error: {message} (LONGSPAN_TRACEBACK=1 tells where)\n"
    assert outcome(fault, capsys, monkeypatch) == (1, line)


@pytest.mark.parametrize("fault", [TypeError("x"), AssertionError("x"), RuntimeError("x"), IndexError("x")])
def test_each_fault_of_the_program_keeps_its_traceback(fault, monkeypatch):
    def main(argv):
        raise fault

    monkeypatch.delenv("LONGSPAN_TRACEBACK", raising=False)
    with pytest.raises(type(fault), match="x"):
        run_script(main)


def test_a_traceback_can_be_asked_for(monkeypatch):
    def main(argv):
        raise ValueError("bad input")

    monkeypatch.setattr(sys, "argv", ["x.py"])
    monkeypatch.setenv("LONGSPAN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="bad input"):
        run_script(main)


def test_a_parser_takes_settings_and_no_abbreviations(capsys):
    parser = parser_for("First line.\n\nMore.")
    assert parser.description == "First line."
    assert parser.parse_args(["--settings", '{"a": [1, null]}']).settings == {"a": [1, None]}
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--setting", "{}"])
    assert stop.value.code == 2
    assert "--settings" in capsys.readouterr().err
    assert parser_for("x", settings=False).parse_args([])


def test_json_objects_keep_their_text(tmp_path):
    assert json_object('{"é": "\\u00e9"}') == {"é": "é"}
    path = tmp_path / "settings.json"
    path.write_text('{"é": "\\u00e9"}', encoding="utf-8")
    assert json_object(str(path)) == {"é": "é"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "not JSON: "), (b"3", "must be a JSON object"), (b"\xff", "not JSON: "), (b"", "not JSON: ")],
)
def test_a_file_that_holds_no_json_object_is_named(tmp_path, content, message):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(argparse.ArgumentTypeError) as error:
        json_object(str(path))
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_script_and_what_it_starts_read_nothing(tmp_path):
    program = (
        "import subprocess, sys\n"
        "from longspan.process.command_line import run_script\n"
        "def main(argv):\n"
        "    print(repr(sys.stdin.read()), flush=True)\n"
        "    subprocess.run(['cat'], check=True)\n"
        "run_script(main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "workflow")}
    result = subprocess.run(
        [sys.executable, "-c", program], input="y\n", env=environment, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[0] == "''", result.stderr
    assert "y" not in result.stdout.splitlines()
