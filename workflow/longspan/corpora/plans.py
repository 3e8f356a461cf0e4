"""Which documents go into which shard: append-only, so that new text disturbs no shard that is there."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from longspan.corpora.items import Item
from longspan.store.tables import atomic_path


def assign_items(
    items: Iterable[Item], shards: list[str], previous: Mapping[str, list[Item]] | None = None
) -> dict[str, list[Item]]:
    """Spread items over shards, evenly by category and size.

    An item that a previous plan placed keeps its shard and its turn, its content as it is now. New items go
    to shards that are still empty, or over all shards if none is, behind the items that are there.

    Args:
        items: all items of the corpus, held-out ones excluded.
        shards: names of the shards.
        previous: the plan that is there, by shard.

    Raises:
        ValueError: two items of one name, fewer items than shards, or fewer shards than before.
    """
    by_key: dict[tuple, Item] = {}
    for item in items:
        if item.key in by_key:
            raise ValueError(f"{item.name} is in the corpus twice; each document may be in one source only")
        by_key[item.key] = item
    if len(by_key) < len(shards):
        raise ValueError(
            f"{len(shards)} shards for {len(by_key)} pieces of text (files, groups or blocks of rows); "
            f"set shards to {len(by_key)} or fewer"
        )
    plan: dict[str, list[Item]] = {shard: [] for shard in shards}
    placed = set()
    for shard, old_items in (previous or {}).items():
        if old_items and shard not in plan:
            raise ValueError(
                f"shard {shard} holds documents, but is no longer among the {len(shards)} shards; "
                "set shards back, or remove the corpus's results to plan it anew"
            )
        for old in old_items:
            if old.key in by_key:
                plan[shard].append(by_key[old.key])
                placed.add(old.key)
    open_shards = [shard for shard in shards if not plan[shard]] or shards
    new = [item for key, item in by_key.items() if key not in placed]
    bytes_of = {shard: Counter() for shard in shards}
    for shard, part in plan.items():
        for item in part:
            bytes_of[shard][item.category] += item.size_bytes
    added: dict[str, list[Item]] = {shard: [] for shard in shards}
    for run in _runs(new, len(open_shards)):
        category, size_bytes = run[0].category, sum(item.size_bytes for item in run)
        shard = min(open_shards, key=lambda shard: (bytes_of[shard][category], bytes_of[shard].total()))
        added[shard] += run
        bytes_of[shard][category] += size_bytes
    return {shard: plan[shard] + sorted(added[shard], key=lambda item: item.place) for shard in shards}


def _runs(items: list[Item], num_shards: int) -> list[list[Item]]:
    """Whole files, and runs of a file's rows that are read in one go; a category's largest first."""
    bytes_of = Counter()
    for item in items:
        bytes_of[item.category] += item.size_bytes
    runs: list[tuple[int, list[Item]]] = []
    for item in sorted(items, key=lambda item: (item.category, item.place)):
        if runs and item.rows:
            size_bytes, run = runs[-1]
            first, size_bytes = run[0], size_bytes + item.size_bytes
            # Two runs a shard at least, so that shards can be filled evenly.
            fits = size_bytes <= bytes_of[item.category] / (2 * num_shards)
            if fits and (first.category, first.path, first.member) == (item.category, item.path, item.member):
                run.append(item)
                runs[-1] = (size_bytes, run)
                continue
        runs.append((item.size_bytes, [item]))
    if len(runs) < num_shards:
        # One block is most of the text; a shard shall not stay empty for the sake of a run.
        runs = [(item.size_bytes, [item]) for item in items]
    runs.sort(key=lambda run: (run[1][0].category, -run[0], run[1][0].place))
    return [run for _, run in runs]


def write_plan(path: Path | str, items: list[Item]) -> None:
    """Write one shard's plan; a plan that says the same keeps its bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([item.to_json() for item in items], indent=1) + "\n")


def read_plan(path: Path | str) -> list[Item]:
    """Read one shard's plan.

    Raises:
        ValueError: the file is missing or no plan.
    """
    try:
        return [Item.from_json(values) for values in json.loads(Path(path).read_text())]
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing; run the same target again with --forcerun plan_shards"
        ) from None
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is no shard plan ({error}); delete it and run the same target again "
            "with --forcerun plan_shards"
        ) from None
