"""Formats of raw files, by their endings."""

from pathlib import Path

FORMATS = {".txt": "txt", ".jsonl": "jsonl", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ENDINGS = tuple(ending + compression for ending in FORMATS for compression in ("", *COMPRESSIONS))


def format_of(name: str) -> str | None:
    """The format that a file's ending tells, a compression's ending behind it or not."""
    return FORMATS.get(_without_compression(name).suffix)


def title_of(name: str) -> str:
    """A file's name without its endings."""
    return _without_compression(name).stem


def _without_compression(name: str) -> Path:
    path = Path(name)
    return path.with_suffix("") if path.suffix in COMPRESSIONS else path
