"""What the making of a shard counts, in the manifests of documents and windows: for summary and funnel."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from longspan.store.tables import open_table

_CATEGORY, _REASON = "documents of ", "left out: "


def of_category(category: str) -> str:
    """Name of the number of a category's documents."""
    return _CATEGORY + category


def left_out(reason: str) -> str:
    """Name of the number of documents that are left out for a reason."""
    return _REASON + reason


def by_category(counts: Mapping[str, int]) -> Counter:
    """Documents by category."""
    return _named(counts, _CATEGORY)


def by_reason(counts: Mapping[str, int]) -> Counter:
    """Documents that are left out by reason."""
    return _named(counts, _REASON)


def _named(counts: Mapping[str, int], prefix: str) -> Counter:
    return Counter(
        {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    )


def count_cut(num_tokens: Mapping[str, int], cut: Sequence[Mapping]) -> dict[str, int]:
    """What cutting made of a shard's documents.

    Args:
        num_tokens: text tokens of each document.
        cut: windows of the documents, before any sampling.
    """
    with_windows = {window["document_id"] for window in cut}
    short = [tokens for document_id, tokens in num_tokens.items() if document_id not in with_windows]
    return {
        "documents": len(num_tokens),
        "tokens": sum(num_tokens.values()),
        "short_documents": len(short),
        "short_tokens": sum(short),
        "windows_cut": len(cut),
    }


def total_counts(windows: Iterable[Path | str]) -> Counter:
    """Sums of what the manifests of windows count, their documents' among it.

    Raises:
        ValueError: a table that is missing or damaged.
    """
    total: Counter = Counter()
    for path in windows:
        total.update(open_table(path, "windows")[1].counts)
    return total
