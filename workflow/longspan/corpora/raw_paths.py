"""Raw files of a source: paths, patterns, and folders with all they hold. Scripts import it too."""

import glob
import os
from collections.abc import Iterable

from longspan.corpora.raw_formats import ENDINGS


def raw_paths(patterns: Iterable[str]) -> list[str]:
    """Files by path, pattern or folder; a pattern without a match stays, so that it is missing by its name.

    A folder gives all files under it with one of the endings that are known, hidden ones left out.
    """
    found = []
    for pattern in patterns:
        for path in sorted(glob.glob(pattern, recursive=True)) or [pattern]:
            found += _files_under(path) if os.path.isdir(path) else [path]
    return list(dict.fromkeys(found))


def _files_under(folder: str) -> list[str]:
    paths = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith(ENDINGS) and not name.startswith(".")
    ]
    return sorted(paths) or [folder]
