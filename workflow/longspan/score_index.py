"""The index of a score store: where each window's score lies, written only when all are there, once."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from longspan.artifacts import RowReader, read_table, require_same


def build_index(
    windows: Mapping[str, Path | str],
    scores: Mapping[str, Path | str],
    wanted: Iterable[str] | None = None,
    *,
    kind: str = "nll_scores",
) -> tuple[list[dict], dict[str, str]]:
    """Rows of the index, and the digest of each shard's scores.

    Only ids are read, so memory does not grow with the scores.

    Args:
        windows: windows file by shard.
        scores: scores file by shard.
        wanted: ids that must have a score; None wants every window.
        kind: kind of the scores' tables.

    Raises:
        ValueError: an id that is missing, doubled, or of no window (foreign), with the shard to rerun; or
            scores of other settings than the first shard's.
    """
    wanted = None if wanted is None else set(wanted)
    rows: list[dict] = []
    digests: dict[str, str] = {}
    seen: dict[str, str] = {}
    first = None
    num_wanted, missing = 0, {}
    for shard, path in scores.items():
        known = read_table(windows[shard], "windows", ["data_id"])[0].column(0).to_pylist()
        table, manifest = read_table(path, kind, ["data_id"])
        first = first or manifest
        for name in ("settings", "stage_version", "tokenizer"):
            if getattr(first, name) != getattr(manifest, name):
                raise ValueError(
                    f"{path} was scored with other {name} than the shards before it; "
                    "delete it and run the same target again"
                )
        require_same("model", first.inputs["model"], manifest.inputs["model"], where=path, rule="score_short")
        digests[shard] = manifest.data_digest
        found = table.column(0).to_pylist()
        foreign = sorted(set(found) - set(known))
        if foreign:
            raise ValueError(_message(path, "holds windows that its shard does not have", foreign))
        for row, data_id in enumerate(found):
            if data_id in seen:
                raise ValueError(_message(path, f"doubles windows of shard {seen[data_id]}", [data_id]))
            seen[data_id] = shard
            rows.append({"data_id": data_id, "shard": shard, "row": row})
        needed = known if wanted is None else [data_id for data_id in known if data_id in wanted]
        num_wanted += len(needed)
        if absent := [data_id for data_id in needed if data_id not in seen]:
            missing[shard] = absent
    if missing:
        absent = [data_id for ids in missing.values() for data_id in ids]
        raise ValueError(
            f"scores cover {num_wanted - len(absent)} of {num_wanted} windows; first missing: "
            f"{', '.join(absent[:3])}; rerun score_short for shard {', '.join(missing)} (delete "
            f"{', '.join(str(scores[shard]) for shard in list(missing)[:3])})"
        )
    return rows, digests


def _message(path: Path | str, fault: str, data_ids: list[str]) -> str:
    first = ", ".join(data_ids[:3])
    return f"{path} {fault} ({len(data_ids)}; first: {first}); delete it and run the same target again"


class IndexedScores:
    """Scores of windows by id, through an index, without loading the store.

    Args:
        index: the store's index.
        scores: scores file by shard.
        columns: NLL columns to read, "short_nll" and, if stored, "long_nll".

    Raises:
        ValueError: a scores file is not the one that was indexed.
    """

    def __init__(
        self, index: Path | str, scores: Mapping[str, Path | str], columns: Iterable[str] = ("short_nll",)
    ):
        table, manifest = read_table(index, "score_index")
        self._place = {row["data_id"]: (row["shard"], row["row"]) for row in table.to_pylist()}
        self._readers = {
            shard: RowReader(path, "nll_scores", ["data_id", *columns]) for shard, path in scores.items()
        }
        for shard, reader in self._readers.items():
            found = reader.manifest.data_digest
            require_same("scores file", found, manifest.inputs[shard], where=index, rule="collect_weights")
        self._columns = tuple(columns)

    def __getitem__(self, data_id: str) -> dict[str, np.ndarray]:
        """NLL of a window by column, float32 [T-1], nats; entry t belongs to token t+1.

        Raises:
            ValueError: the store has no score of this window.
        """
        if data_id not in self._place:
            raise ValueError(f"no scores of window {data_id}; rerun score_short for its shard")
        shard, row = self._place[data_id]
        values = self._readers[shard][row]
        assert values["data_id"].as_py() == data_id
        return {name: values[name].values.to_numpy().astype(np.float32) for name in self._columns}
