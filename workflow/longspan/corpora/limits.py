"""Where links of a corpus may lead, and what its files may become when they are read."""

import glob
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from longspan.corpora.raw_paths import in_other_normal_form
from longspan.store.archives import UnpackingBudget

# A title, id or group stands beside each window of a document.
MAX_LABEL_CHARACTERS = 4096
# Rows of a table with texts take some bytes each; those that are all the same can take none.
ALWAYS_ROWS = 2**20
MAX_BATCH_ROWS = 16
_MAX_BATCH_BYTES = 2**30
# A snapshot of the hub's cache is made of links to files beside it.
_SNAPSHOT = re.compile(r"(.*/(?:datasets|models)--[^/]+)/snapshots/[^/]+")


def label_fault(value: object, column: str | None) -> str | None:
    """What is wrong with a title, id or group for its length, if anything."""
    if isinstance(value, str) and len(value) > MAX_LABEL_CHARACTERS:
        return (
            f"has {len(value):,} characters in column '{column}', which is read as a name; at most "
            f"{MAX_LABEL_CHARACTERS:,} can be one"
        )
    return None


class BoundedStream(io.RawIOBase):
    """Decompressed bytes, as many as a file may become.

    Args:
        stream: what decompresses it.
        budget: of the file; reading beyond it is a ValueError.
    """

    def __init__(self, stream, budget: UnpackingBudget):
        self._stream, self._budget = stream, budget

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer) -> int:
        """Read what there is, at most so many bytes."""
        # What stands before a damage is handed on before the damage is met.
        content = self._stream.read1(len(buffer))
        self._budget.take(len(content))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close what decompresses, too."""
        self._stream.close()
        super().close()


def require_bounded_table(name: str, metadata: pq.FileMetaData, size_bytes: int) -> None:
    """Refuse a Parquet file whose footer says that it becomes far larger than its size lets expect.

    Args:
        name: of the file, for errors.
        metadata: its footer.
        size_bytes: size of the file as it is.

    Raises:
        ValueError: naming what is too large.
    """
    budget = UnpackingBudget(name, size_bytes)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        budget.take(
            sum(row_group.column(column).total_uncompressed_size for column in range(row_group.num_columns))
        )
    if metadata.num_rows > max(ALWAYS_ROWS, size_bytes):
        raise ValueError(
            f"{name} has {size_bytes:,} bytes and says that it has {metadata.num_rows:,} rows, more than "
            "texts can be in it; write it anew with its own rows"
        )


def batch_rows(metadata: pq.FileMetaData) -> int:
    """Rows to read at a time: a value of a dictionary can be in each of them."""
    largest = max(
        (
            metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        ),
        default=0,
    )
    return max(1, min(MAX_BATCH_ROWS, _MAX_BATCH_BYTES // max(largest, 1)))


def require_inside(paths: Iterable[str | Path], named: Sequence[str]) -> None:
    """Refuse files that a link brings in from outside what the settings name.

    A path that is named itself may be a link. What lies under a folder, or matches a pattern, must lie under
    one of the named folders, its links followed.

    Args:
        paths: files that were found.
        named: paths, patterns and folders of the settings.

    Raises:
        ValueError: naming the link and where it leads.
    """
    roots = {os.path.realpath(_fixed_part(pattern)) for pattern in named}
    roots |= {found[1] for root in list(roots) if (found := _SNAPSHOT.match(root))}
    for path in map(str, paths):
        if path in named:
            continue
        target = os.path.realpath(path)
        if not any(os.path.commonpath([root, target]) == root for root in roots):
            raise ValueError(
                f"{_first_link(path)} is a link that leads out of what the settings name, to {target}; "
                "name that path beside it, or remove the link"
            )


def name_in(path: str, named: Sequence[str]) -> str | None:
    """A file's name from where the settings name it on, if its path is absolute; None for others.

    Args:
        path: the file.
        named: paths, patterns and folders of the settings; without any, no file has such a name.
    """
    if not named or not os.path.isabs(path):
        return None
    for pattern in named:
        folder = _fixed_part(pattern)
        if path in (pattern, folder):
            continue
        if os.path.isabs(folder) and os.path.commonpath([folder, path]) == os.path.normpath(folder):
            return os.path.relpath(path, folder)
    return os.path.basename(path)


def _fixed_part(pattern: str) -> str:
    """The path itself, or the folder before a pattern's first wild card."""
    if os.path.exists(pattern):
        return pattern
    if not glob.has_magic(pattern):
        return in_other_normal_form(pattern)
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")


def _first_link(path: str) -> str:
    """The first part of a path that leads elsewhere."""
    parents = [*reversed(Path(path).parents), Path(path)]
    return str(next((part for part in parents if part.is_symlink()), path))
