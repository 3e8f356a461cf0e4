"""Who may read and write what is on disk: files follow the umask, private folders are their owner's alone."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path


def current_umask() -> int:
    """The umask of this process."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^Umask:\s*([0-7]+)$", status.read_text(), re.MULTILINE)):
        return int(found[1], 8)
    # Elsewhere it can only be read by setting it.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def follow_umask(folder: Path) -> None:
    """Give the files under a folder the permissions that the umask allows, whatever wrote them.

    safetensors and torch write under temporary names that are their owner's alone, and keep that. Links, and
    files of other users, stay as they are.
    """
    mode = 0o666 & ~current_umask()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            status = path.lstat()
            is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if is_own and stat.S_IMODE(status.st_mode) != mode:
                path.chmod(mode)


def make_private(folder: Path) -> None:
    """Make a folder that is this user's alone, or check that the one that is there is.

    In a folder that all may write to, somebody else may have put a folder or a link of that name there.

    Raises:
        OSError: it is a link or no folder, another user's, or others may write to it.
    """
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    fault = None
    if not stat.S_ISDIR(status.st_mode):
        fault = "is a link" if stat.S_ISLNK(status.st_mode) else "is no folder"
    elif status.st_uid != os.geteuid():
        fault = f"belongs to another user (uid {status.st_uid})"
    elif status.st_mode & 0o077:
        fault = f"is open to others (mode {stat.S_IMODE(status.st_mode):o})"
    if fault:
        raise OSError(f"{folder} {fault}; remove it, or set TMPDIR to a folder of your own")
