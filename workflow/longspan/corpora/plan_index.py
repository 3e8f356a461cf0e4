"""The index of a corpus's plan: the digest of each shard's part, and of what all of it was made from."""

import functools
import hashlib
import json
import os
from pathlib import Path

from longspan.corpora.raw_paths import raw_paths


def raw_files(settings: dict) -> list[str]:
    """Archives and local files that the settings of the rule plan_shards name."""
    return raw_paths(pattern for source in settings["sources"] for pattern in source["paths"])


def made_from(settings: dict, files: list[str], code: str) -> str:
    """Digest of what a plan is made from: settings of the rule plan_shards, names of raw files, and code.

    A script takes it before it looks at the files, so that one that comes meanwhile is not taken for planned.
    """
    parts = [settings, files, code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plan_index(source_digest: str, digests: dict[str, str]) -> dict:
    """Content of an index, by `made_from` and the digest of each shard's plan."""
    return {"made_from": source_digest, "shards": digests}


def plan_digests(path: str) -> dict[str, str]:
    """Digests of the shards' plans; none if there is no index yet.

    Raises:
        ValueError: the file is no index.
    """
    return _read(path).get("shards", {})


def is_current(path: str, settings: dict, code: str) -> bool:
    """Whether planning anew would change nothing: the settings, code and raw files are what they were.

    A raw file counts as changed when it is newer than the index, as for Snakemake.

    Args:
        path: the index.
        settings: of the rule plan_shards.
        code: digest of the rule's code.

    Raises:
        ValueError: the file is no index.
    """
    files = raw_files(settings)
    if _read(path).get("made_from") != made_from(settings, files, code):
        return False
    planned = os.stat(path).st_mtime_ns
    try:
        return all(_changed(raw) <= planned for raw in files)
    except FileNotFoundError:
        return False


def _changed(path: str) -> int:
    return max(os.stat(path).st_mtime_ns, os.lstat(path).st_mtime_ns)


def _read(path: str) -> dict:
    try:
        changed = os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return {}
    return _read_cached(path, changed)


@functools.lru_cache(maxsize=8)
def _read_cached(path: str, changed: int) -> dict:
    try:
        index = json.loads(Path(path).read_text())
        if not isinstance(index, dict):
            raise TypeError("no JSON object")
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is no index of a plan ({error}); delete it and run the same target again, which plans "
            "anew and leaves every text in its shard"
        ) from None
    return index
