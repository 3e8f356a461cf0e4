"""Scores of all windows of a corpus by one method of selection."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from longspan.scoring.index import IndexBuilder
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.cascade import EarlierStage
from longspan.selection.method import SelectionMethod
from longspan.store.tables import RowReader, require_same
from longspan.windows.shard import Shard


@dataclass(frozen=True)
class ShardTables:
    """Tables of one shard that a method looks at; those that it does not need are None."""

    name: str
    windows: Path
    scores: Path | None = None
    documents: Path | None = None
    tokens: Path | None = None


def score_windows(
    method: SelectionMethod,
    shards: Iterable[ShardTables],
    *,
    seed: int | None = None,
    before: EarlierStage | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score windows by a method; one shard's tables are open at a time.

    Args:
        method: the method.
        shards: tables of each shard.
        seed: of a draw.
        before: an earlier stage, whose kept windows alone are looked at; None for all windows.

    Returns:
        One row a window: data_id, category, the numbers of `method.measure`, and score (float64); and the
        digests of what went in, as `windows/{shard}`, and `scores/{shard}`, `documents/{shard}` or
        `tokens/{shard}`, and `selection` of an earlier stage.

    Raises:
        ValueError: no window; scores that are missing, doubled, foreign, stale or not finite; a store without
            a column that the method needs; documents or tokens that the windows were not cut from; an earlier
            stage of other windows.
    """
    needs = method.needs
    table_kind = SCORER_KINDS[needs.scorer].table if needs.scorer else None
    index, inputs, parts = IndexBuilder(table_kind) if table_kind else None, {}, []
    for part in shards:
        shard = Shard(part.name, part.windows, tokens=part.tokens, documents=part.documents)
        scores = RowReader(part.scores, table_kind) if table_kind else None
        if index is not None:
            _require_columns(scores, needs.columns)
            index.add(part.name, shard, scores)
        if before is not None:
            shard = shard.part(before.kept)
        numbers = method.measure(shard, scores)
        inputs |= {f"{name}/{part.name}": digest for name, digest in shard.inputs.items()}
        columns = {"data_id": shard.data_ids, "category": shard.column("category")}
        parts.append(pd.DataFrame(columns | dict(numbers)))
    if before is not None:
        before.require_windows(inputs)
        inputs["selection"] = before.manifest.data_digest
    if index is not None:
        # The same completeness that training asks of a store.
        inputs |= index.finish(None if before is None else sorted(before.kept))[1]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise ValueError(
            "the corpus gives no window: every document is shorter; shorten window_tokens, or add text"
        )
    return table.assign(score=np.asarray(method.score(table, seed=seed), np.float64)), inputs


def own_numbers(
    method: SelectionMethod, shards: Iterable[ShardTables], inputs: Mapping[str, str]
) -> pd.DataFrame:
    """The numbers of `method.measure` out of its scorer's store, a row a window with its data_id.

    Args:
        method: a method that looks at scores alone.
        shards: all shards.
        inputs: digests of what the selection was made of, from its manifest.

    Raises:
        ValueError: windows or scores are others than those that were chosen from.
    """
    kind, parts = SCORER_KINDS[method.needs.scorer].table, []
    for part in shards:
        shard, scores = Shard(part.name, part.windows), RowReader(part.scores, kind)
        digests = {"windows": shard.windows_digest, "scores": scores.manifest.data_digest}
        for name, digest in digests.items():
            chosen_from = inputs.get(f"{name}/{part.name}", "")
            require_same(
                f"{name} of shard {part.name}",
                digest,
                chosen_from,
                where="the selection",
                rule="select_windows",
            )
        parts.append(pd.DataFrame({"data_id": shard.data_ids} | dict(method.measure(shard, scores))))
    return pd.concat(parts, ignore_index=True)


def _require_columns(scores: RowReader, columns: Iterable[str]) -> None:
    for name in columns:
        if name not in scores.column_names:
            raise ValueError(
                f"{scores.path} holds no {name}, which the selection needs; "
                "set store_long of its scorer, or choose another scorer"
            )
