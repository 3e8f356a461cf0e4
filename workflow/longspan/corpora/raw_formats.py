"""Formats of raw files, by their endings."""

from pathlib import Path

FORMATS = {".txt": "txt", ".jsonl": "jsonl", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
# Crawls come as compressed JSON lines of this name; a plain .json is mostly one document of its own kind.
_COMPRESSED_LINES = tuple(f".json{compression}" for compression in COMPRESSIONS)
ENDINGS = (
    *(ending + compression for ending in FORMATS for compression in ("", *COMPRESSIONS)),
    *_COMPRESSED_LINES,
)
READABLE = (
    f"{', '.join(FORMATS)}, each also with {' or '.join(COMPRESSIONS)} behind it, and "
    f"{' and '.join(_COMPRESSED_LINES)} (JSON lines)"
)


def format_of(name: str) -> str | None:
    """The format that a file's ending tells, a compression's ending behind it or not."""
    if name.endswith(_COMPRESSED_LINES):
        return "jsonl"
    return FORMATS.get(_without_compression(name).suffix)


def title_of(name: str) -> str:
    """A file's name without its endings."""
    return _without_compression(name).stem


def ending_of(name: str) -> str:
    """A file's ending as people name it, a compression's behind it or not; empty if it has none."""
    path = Path(name)
    return "".join(path.suffixes[-2:]) if path.suffix in COMPRESSIONS else path.suffix


def _without_compression(name: str) -> Path:
    path = Path(name)
    return path.with_suffix("") if path.suffix in COMPRESSIONS else path
