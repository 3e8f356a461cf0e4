"""Names of shards and of their tables. Scripts import it, so it imports nothing of the settings."""

from pathlib import Path

HELD_OUT = "held_out"


def shard_names(count: int) -> list[str]:
    """Names of so many shards."""
    return [f"{number:05d}" for number in range(count)]


def shard_files(folder: Path, count: int) -> dict[str, Path]:
    """The tables of so many shards in a folder, by shard.

    Rules hand over the folder and the count: thousands of names are too long for a command line.
    """
    return {shard: folder / f"{shard}.parquet" for shard in shard_names(count)}
