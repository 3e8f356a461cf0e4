"""Disks that fill up."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Say which disk is full when a write into `folder` fails for it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC, f"no space left on the disk of {folder}; free some and run again"
            ) from error
        raise
