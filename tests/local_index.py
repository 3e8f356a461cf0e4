"""A package index in a folder: small archives that pip itself fetches, without a network."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path


def write_sdist(folder: Path, name: str, version: str, files: dict[str, bytes]) -> tuple[Path, str]:
    """Write a source archive with these files under its root; its path and sha256."""
    root = f"{name}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    # pip looks for metadata even when nothing is installed.
    build = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    backend = (
        "import os\n"
        "def prepare_metadata_for_build_wheel(folder, settings=None):\n"
        f"    os.mkdir(os.path.join(folder, '{name}-{version}.dist-info'))\n"
        f"    with open(os.path.join(folder, '{name}-{version}.dist-info', 'METADATA'), 'w') as file:\n"
        f"        file.write({metadata.decode()!r})\n"
        f"    return '{name}-{version}.dist-info'\n"
    ).encode()
    members = {"PKG-INFO": metadata, "pyproject.toml": build, "backend.py": backend, **files}
    path = folder / f"{root}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            information = tarfile.TarInfo(f"{root}/{member}")
            information.size = len(content)
            archive.addfile(information, io.BytesIO(content))
    return path, _sha256(path)


def write_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> tuple[Path, str]:
    """Write a wheel with these files; its path and sha256."""
    information = f"{name}-{version}.dist-info"
    members = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/RECORD": b"",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return path, _sha256(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
