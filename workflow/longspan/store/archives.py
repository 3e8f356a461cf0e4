"""Members of archives (tar, zip), with bounds on what comes out of them before it is unpacked."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Text shrinks to a third or a tenth, and the most that is seen of tables of it is a fiftieth.
LARGEST_RATIO = 100
# What any file may become, however small it is.
ALWAYS_BYTES = 2**30
_LARGEST_HEADER_BYTES = 2**20


class UnpackingBudget:
    """What a file on the disk may become when it is unpacked.

    Args:
        path: the file, for errors.
        size_bytes: its size as it is; None asks the disk.
    """

    def __init__(self, path: Path | str, size_bytes: int | None = None):
        self._path = path
        self._size_bytes = Path(path).stat().st_size if size_bytes is None else size_bytes
        self._left_bytes = self.limit_bytes = max(ALWAYS_BYTES, LARGEST_RATIO * self._size_bytes)

    def take(self, size_bytes: int) -> None:
        """Count what is to be unpacked next.

        Raises:
            ValueError: all in all it is too much.
        """
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise ValueError(
                f"{self._path} has {self._size_bytes:,} bytes and would become more than "
                f"{self.limit_bytes:,}, out of all proportion; unpack it yourself if that is right"
            )


def read_members(path: Path | str) -> dict[str, bytes]:
    """The files of an archive by their names.

    Raises:
        ValueError: it is no whole archive, encrypted, or would become too large.
    """
    budget = UnpackingBudget(path)
    with naming_archive_faults(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                for member in members:
                    budget.take(member.file_size)
                return {member.filename: archive.read(member) for member in members}
        with tarfile.open(path, tarinfo=_BoundedHeader) as archive:
            found = {}
            for member in archive:
                # Also what is passed over must be decompressed.
                budget.take(member.size)
                if member.isfile():
                    found[member.name] = archive.extractfile(member).read()
            return found


@contextmanager
def naming_archive_faults(path: Path | str) -> Iterator[None]:
    """Say in one sentence what is wrong with an archive; errors as `read_members`."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no whole archive ({reason}); delete it to fetch it again") from None
    except (RuntimeError, NotImplementedError) as error:
        # zipfile's, for a password and for a way of packing.
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be unpacked ({reason}); pack it anew, without a password") from None


class _BoundedHeader(tarfile.TarInfo):
    """A member's header, whose long names and other additions are read into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "tarfile.TarInfo":
        header = super().frombuf(buf, encoding, errors)
        is_data = header.isreg() or header.type in (tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE)
        if not is_data and header.size > _LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header
