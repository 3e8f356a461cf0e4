"""Write the hashes of all pinned packages into constraints.txt.

    .venv/bin/python envs/pin.py

The file names the versions; this adds the sha256 of every wheel of them that the indexes have, as pip is set
up for them, for the Pythons and systems that longspan runs on. Hashes that are there stay, so that builds of
two indexes (a CPU and a CUDA build of torch, say) can stand beside each other. A new version begins without.
"""

import hashlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from longspan.fetching.package_index import Candidate, PackageIndexes

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PYTHONS = ("cp311", "cp312", "cp313")
PLATFORM = re.compile(r"any|(manylinux|linux|macosx).*(x86_64|aarch64|arm64|universal2)")


def main() -> None:
    """Look every package up, and write the file anew."""
    comments, pins = read_pins(CONSTRAINTS.read_text())
    indexes = PackageIndexes.of_pip()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pin: hashes(indexes, *pin), pins))
    lines = [*comments]
    for (name, version), there, new in zip(pins, pins.values(), found, strict=True):
        if not there | new:
            sys.exit(f"{name}=={version}: no index has a wheel of it with a hash")
        lines += [f"{name}=={version} \\", *(f"    --hash=sha256:{one} \\" for one in sorted(there | new))]
        lines[-1] = lines[-1].removesuffix(" \\")
    CONSTRAINTS.write_text("\n".join(lines) + "\n")
    print(f"{CONSTRAINTS}: {len(pins)} packages, {sum('--hash' in line for line in lines)} hashes")


def read_pins(text: str) -> tuple[list[str], dict[tuple[str, str], set[str]]]:
    """Comments at its head, and known hashes by name and version, in the order of the file."""
    comments = [line for line in text.splitlines() if line.startswith("#")]
    pins: dict[tuple[str, str], set[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.split()[0].partition("==")
            pins[name, version] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return comments, pins


def hashes(indexes: PackageIndexes, name: str, version: str) -> set[str]:
    """Sha256 (hex) of the wheels of one version that this project can use; of its sdist if it has none."""
    found, _ = indexes.candidates(name)
    wheels = [one for one in found if is_usable(one.filename, name, version)]
    return {digest(indexes, one) for one in wheels or found if wheels or is_sdist(one, name, version)} - {""}


def is_sdist(candidate: Candidate, name: str, version: str) -> bool:
    """Whether a file is the source archive of that version."""
    try:
        found, of_version = parse_sdist_filename(candidate.filename)
    except InvalidSdistFilename:
        return False
    return found == canonicalize_name(name) and of_version == Version(version)


def is_usable(filename: str, name: str, version: str) -> bool:
    """Whether a file is a wheel of that version, local builds of it among them, that may be installed."""
    try:
        found, of_version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    is_same = found == canonicalize_name(name) and of_version.public == Version(version).public
    return is_same and any(
        (tag.interpreter in PYTHONS or tag.abi in ("abi3", "none"))
        and not tag.interpreter.startswith(("pp", "cp2", "cp314"))
        and PLATFORM.fullmatch(tag.platform)
        for tag in tags
        if tag.abi in (*PYTHONS, "abi3", "none")
    )


def digest(indexes: PackageIndexes, candidate: Candidate) -> str:
    """What the index tells, or, of a local file, what it has."""
    if candidate.sha256 or not candidate.url.startswith("file:"):
        return candidate.sha256 or ""
    with indexes.open(candidate.url) as file:
        content = hashlib.sha256()
        while part := file.read(2**20):
            content.update(part)
    return content.hexdigest()


if __name__ == "__main__":
    main()
