"""Raw files of a source: paths, patterns, and folders with all they hold. Scripts import it too."""

import glob
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from longspan.corpora.raw_formats import ENDINGS, READABLE, ending_of

# What Snakemake takes for a wildcard in the name of a rule's input.
_WILDCARD = re.compile(r"\{\s*\w+\s*(,[^{}]*)?\}")
_HIDDEN, _LINKED, _WITHOUT_ENDING = "hidden", "link to a folder", "without an ending"


def raw_paths(patterns: Iterable[str]) -> list[str]:
    """Files by path, pattern or folder; one without a match stays, so that it is missing by its name.

    What exists is a path, whatever signs its name has; a pattern is one only where no such path is. A folder
    gives all files under it with one of the endings that are known. Hidden files and folders are passed over.

    Raises:
        ValueError: a folder that may not be read, or a name that is no text, or a wildcard to Snakemake.
    """
    found = []
    for pattern in patterns:
        for path in _matches(pattern):
            found += sorted(_walk(path)[0]) or [path] if os.path.isdir(path) else [path]
    for path in found:
        _require_name(path)
    return list(dict.fromkeys(found))


def passed_over(patterns: Iterable[str]) -> dict[str, Counter]:
    """What folders hold that is not read: how many files of which ending, and hidden entries, by folder.

    Raises:
        ValueError: a folder that may not be read.
    """
    folders = [path for pattern in patterns for path in _matches(pattern) if os.path.isdir(path)]
    found = {folder: _walk(folder)[1] for folder in folders}
    return {folder: counts for folder, counts in found.items() if counts}


def said(counts: Counter) -> str:
    """Counts of what is passed over, in words."""
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def without_readable(folder: str) -> str:
    """An error's text for a folder with no file that is read."""
    counts = _walk(folder)[1]
    return (
        f"{folder} holds no file that is read, but {said(counts) or 'nothing'}; readable are {READABLE}, and "
        f"any that a pattern such as {os.path.join(folder, '*.md')} names with format set"
    )


def _matches(pattern: str) -> list[str]:
    if os.path.lexists(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True)) or [in_other_normal_form(pattern)]


def in_other_normal_form(path: str) -> str:
    """The path that exists and reads the same, its accents composed or not; this one if there is none."""
    found = os.sep if os.path.isabs(path) else ""
    for part in path.split(os.sep):
        place = os.path.join(found, part)
        if part and not os.path.lexists(place):
            wanted = unicodedata.normalize("NFC", part)
            try:
                names = sorted(os.listdir(found or "."))
            except OSError:
                return path
            same = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
            if not same:
                return path
            place = os.path.join(found, same[0])
        found = place
    return found


def _walk(folder: str) -> tuple[list[str], Counter]:
    """Files under a folder that are read, and counts of what is not."""
    paths, others = [], Counter()
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        others[_HIDDEN] += sum(name.startswith(".") for name in folders)
        others[_LINKED] += sum(
            os.path.islink(os.path.join(parent, name)) for name in folders if not name.startswith(".")
        )
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith("."):
                others[_HIDDEN] += 1
            elif name.endswith(ENDINGS):
                paths.append(os.path.join(parent, name))
            else:
                others[ending_of(name) or _WITHOUT_ENDING] += 1
    return paths, +others


def _refuse(error: OSError) -> None:
    raise ValueError(
        f"the folder {error.filename} cannot be read ({error.strerror}); give it the right to be read, or "
        "take it out of the corpus's sources"
    )


def _require_name(path: str) -> None:
    if found := _WILDCARD.search(path):
        raise ValueError(
            f"the name of {path!r} has the braces {found[0]}, which Snakemake takes for a wildcard; rename it"
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the name of {path!a} has bytes that are not UTF-8; rename the file, since its name "
            "becomes the document's id"
        ) from None
