"""The index of a score store: where each window's score lies, written only when all are there, once."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from longspan.store.contracts import CONTRACTS, NLL
from longspan.store.tables import RowReader, naming_damage, open_table, read_table, require_same
from longspan.windows.window_store import doubled_error, kept_ids, require_windows


def build_index(
    windows: Mapping[str, Path | str],
    scores: Mapping[str, Path | str],
    kept: Iterable[Path | str] = (),
    *,
    kind: str = "nll_scores",
) -> tuple[list[dict], dict[str, str]]:
    """Rows of the index, and the digests of what it was made of, as `windows/{shard}` and `scores/{shard}`.

    Only ids are read, so memory does not grow with the scores. Scores of windows that are not there at
    present are left out.

    Args:
        windows: windows file by shard.
        scores: scores file by shard.
        kept: kept windows of selections; if any, only those must have a score.
        kind: kind of the scores' tables.

    Raises:
        ValueError: a score that is missing, doubled, of another shard's window (foreign) or of other tokens
            (stale), with the shard to rerun; or scores of other settings than the first shard's, or of
            another tokenizer than the windows'.
    """
    rule = CONTRACTS[kind].rule
    tokenizers: dict[str, str | None] = {}
    digest_of_window: dict[str, int] = {}
    shard_of: dict[str, str] = {}
    inputs: dict[str, str] = {}
    for shard, path in windows.items():
        table, manifest = read_table(path, "windows", ["data_id", "tokens_digest"])
        tokenizers[shard] = manifest.tokenizer
        inputs[f"windows/{shard}"] = manifest.data_digest
        for row in table.to_pylist():
            if row["data_id"] in shard_of:
                raise doubled_error(path, row["data_id"])
            digest_of_window[row["data_id"]] = row["tokens_digest"]
            shard_of[row["data_id"]] = shard
    wanted = shard_of.keys()
    if kept:
        windows_digests = {shard: inputs[f"windows/{shard}"] for shard in windows}
        wanted = kept_ids(kept, windows_digests)

    rows: list[dict] = []
    seen: set[str] = set()
    first = None
    for shard, path in scores.items():
        table, manifest = read_table(path, kind, ["data_id", "tokens_digest"])
        first = first or manifest
        for name in ("settings", "stage_version", "tokenizer", "inputs"):
            if getattr(first, name) != getattr(manifest, name):
                raise ValueError(
                    f"{path} was scored with other {name} than the shards before it; "
                    "delete it and run the same target again"
                )
        if manifest.tokenizer != tokenizers[shard]:
            raise ValueError(_fault(path, "was scored with windows of another tokenizer than there are now"))
        inputs[f"scores/{shard}"] = manifest.data_digest
        for place, row in enumerate(table.to_pylist()):
            data_id = row["data_id"]
            if data_id not in shard_of:
                continue
            if shard_of[data_id] != shard:
                raise ValueError(_fault(path, f"holds {data_id}, a window of shard {shard_of[data_id]}"))
            if digest_of_window[data_id] != row["tokens_digest"]:
                raise ValueError(_fault(path, f"holds a score of {data_id} for other tokens than it has now"))
            seen.add(data_id)
            rows.append({"data_id": data_id, "shard": shard, "row": place})
    if missing := [data_id for data_id in wanted if data_id not in seen]:
        lacking = sorted({shard_of[data_id] for data_id in missing})
        raise ValueError(
            f"scores cover {len(wanted) - len(missing)} of {len(wanted)} windows; first missing: "
            f"{', '.join(missing[:3])}; rerun {rule} for shard {', '.join(lacking)} (delete "
            f"{', '.join(str(scores[shard]) for shard in lacking[:3])})"
        )
    return rows, inputs


def nll_batches(path: Path | str) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    """Stream a store: ids of some windows, and their NLL by column, float64 [B, T-1], a few MB at a time."""
    file, _ = open_table(path, "nll_scores")
    columns = [column.name for column in file.schema_arrow if column.type == NLL]
    with naming_damage(path, "nll_scores"):
        for batch in file.iter_batches(batch_size=8, columns=["data_id", *columns]):
            yield (
                batch["data_id"].to_pylist(),
                {
                    name: batch[name].flatten().to_numpy().astype(np.float64).reshape(len(batch), -1)
                    for name in columns
                },
            )


def _fault(path: Path | str, fault: str) -> str:
    return f"{path} {fault}; delete it and run the same target again"


class IndexedScores:
    """Scores of windows by id, through an index, without loading the store.

    Args:
        index: the store's index.
        scores: scores file by shard.
        windows_digests: digest of the windows at hand, by shard.
        columns: NLL columns to read, "short_nll" and, if stored, "long_nll".

    Raises:
        ValueError: a scores file is not the one that was indexed, or other windows were.
    """

    def __init__(
        self,
        index: Path | str,
        scores: Mapping[str, Path | str],
        windows_digests: Mapping[str, str],
        columns: Iterable[str] = ("short_nll",),
    ):
        table, manifest = read_table(index, "score_index")
        require_windows(manifest, windows_digests, where=index, rule="collect_weights")
        self._place = {row["data_id"]: (row["shard"], row["row"]) for row in table.to_pylist()}
        self._readers = {
            shard: RowReader(path, "nll_scores", ["data_id", *columns]) for shard, path in scores.items()
        }
        self.digests = {shard: reader.manifest.data_digest for shard, reader in self._readers.items()}
        for shard, found in self.digests.items():
            indexed = manifest.inputs.get(f"scores/{shard}", "")
            require_same(f"scores of shard {shard}", found, indexed, where=index, rule="collect_weights")
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
