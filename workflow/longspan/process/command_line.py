"""What every script's command line shares: settings as JSON, threads, and errors for the reader."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def parser_for(description: str, *, settings: bool = True) -> argparse.ArgumentParser:
    """Parser of a script; `--settings` takes the resolved block of settings, as `json_object` reads it."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0], allow_abbrev=False)
    if settings:
        parser.add_argument("--settings", required=True, type=json_object, metavar="JSON|FILE")
    return parser


def json_object(text: str) -> dict:
    """Read a JSON object: the text itself, or what the file of that name holds, which may be of any size."""
    where = ""
    try:
        if not text.lstrip().startswith(("{", "[")):
            where = f"{text}: "
            text = Path(text).read_text(encoding="utf-8")
        value = json.loads(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{where}cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{where}not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{where}must be a JSON object")
    return value


def run_script(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a script's main; a fault that its user can mend, or of a library, is one line on stderr."""
    name = Path(sys.argv[0]).stem
    close_input()
    try:
        main(None)
    except (ValueError, OSError) as error:
        if os.environ.get("LONGSPAN_TRACEBACK"):
            raise
        message = " ".join(str(part) for part in error.args[1:]) if _has_errno(error) else str(error)
        print(f"{name}: error: {message}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LONGSPAN_TRACEBACK") or not _is_of_machine_or_library(error):
            raise
        said = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
        print(f"{name}: error: {said} (LONGSPAN_TRACEBACK=1 tells where)", file=sys.stderr)
        sys.exit(1)


def _is_of_machine_or_library(error: Exception) -> bool:
    """Whether a fault is one of memory, of a number's size, or of a class that a library defines; tokenizers
    raises a bare Exception. Others are faults of this program."""
    is_foreign = type(error) is Exception or type(error).__module__ != "builtins"
    return is_foreign or isinstance(error, OverflowError | MemoryError)


def close_input() -> None:
    """Let this process and those that it starts read nothing from the terminal: nobody is asked anything."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    if descriptor:
        os.dup2(descriptor, 0)
        os.close(descriptor)


def _has_errno(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno is not None and error.filename is None
