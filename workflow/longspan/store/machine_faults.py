"""Faults of the machine, which say nothing of the file that was asked for."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADVICE = {
    errno.EMFILE: "this process has too many files open; raise the limit (ulimit -n)",
    errno.ENFILE: "this machine has too many files open; close other programs, or raise fs.file-max",
    errno.ENOMEM: "this machine has no memory left; give the job more, or run fewer at a time",
    errno.EACCES: "it may not be read by this user; change its permissions",
    errno.EPERM: "it may not be read by this user; change its permissions",
    errno.EIO: "its disk could not be read; look at the disk",
    errno.ESTALE: "its file server lost it for a moment",
    errno.ETIMEDOUT: "its file server did not answer",
}


class MachineFaultError(OSError):
    """The machine could not read a file; the file may be whole."""


@contextmanager
def naming_machine_faults(path: Path | str) -> Iterator[None]:
    """Say what the machine lacks when a read fails for it, and that the file must not be thrown away.

    Raises:
        MachineFaultError: for the machine's faults; others stay as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        advice = _ADVICE[error.errno]
        raise MachineFaultError(
            error.errno, f"{path} could not be read: {advice}, and run again; nothing is wrong with the file"
        ) from error
