"""Files that may not be read, also where the tests run as root, who may read all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def without_rights(path: Path | str) -> Iterator[None]:
    """A file or folder that this process may not read, as another user if it is root."""
    path = Path(path).absolute()
    mode, user = path.stat().st_mode, os.geteuid()
    opened = [folder for folder in path.parents if not folder.stat().st_mode & 0o001]
    modes = [folder.stat().st_mode for folder in opened]
    path.chmod(0)
    for folder in opened if user == 0 else ():
        folder.chmod(0o755)
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)
        for folder, old in zip(opened, modes, strict=True):
            folder.chmod(old)
