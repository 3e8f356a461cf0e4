"""Names of files that are being written, and what a kill left of them.

A temporary file is named after the file that it becomes, the machine that writes it and the process:
`.x.parquet.1a2b3c4d-123.tmp`.
"""

import hashlib
import os
import re
import socket
import time
from functools import cache
from pathlib import Path

# A writer on another machine cannot be asked whether it lives; one that wrote nothing for a day does not.
FORSAKEN_SECONDS = 24 * 3600


def temporary_path(path: Path) -> Path:
    """Where this process writes what becomes `path`."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `path`.

    A process of this machine left its file when it is no more, one of another machine when the file is a day
    old. What cannot be removed, since it is another user's, stays.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(?:([0-9a-f]{{8}})-)?(\d+)\.tmp")
    for entry in os.scandir(path.parent):
        if (found := pattern.fullmatch(entry.name)) and _is_left(entry, found[1], int(found[2])):
            try:
                os.unlink(entry.path)
            except OSError:
                continue


def _is_left(entry: os.DirEntry, machine: str | None, process: int) -> bool:
    if machine == _machine():
        return not _is_alive(process)
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > FORSAKEN_SECONDS
    except FileNotFoundError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def _machine() -> str:
    """Where a process number means the same process: a machine since it booted, or a container on it."""
    parts = [socket.gethostname()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            parts.append(read())
        except OSError:
            continue
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
