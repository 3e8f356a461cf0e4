"""Locks that keep two processes from writing one thing, and say who holds it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longspan.store.disks import naming_full_disk


def holder_name() -> str:
    """This process, for the one who finds its lock."""
    name = f"process {os.getpid()} on {socket.gethostname()}"
    job = os.environ.get("SLURM_JOB_ID")
    return f"{name} (SLURM job {job})" if job else name


def take(file) -> bool:
    """Take the lock of an open file; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_error(path: Path, holder: str) -> ValueError:
    """The error of one who comes second."""
    return ValueError(f"{path} is held by {holder}; wait until it ends, or end it, then run again")


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file as long as the block runs; a kill releases it.

    Raises:
        ValueError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer, which closing would try to write once more to a full disk.
    with open(path, "a+b", buffering=0) as file:
        if not take(file):
            file.seek(0)
            raise held_error(path, file.read().decode() or "another process")
        file.truncate(0)
        with naming_full_disk(path.parent):
            file.write(holder_name().encode())
        yield
