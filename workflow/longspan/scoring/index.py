"""The index of a score store: where each window's score lies, written only when all are there, once."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from longspan.store.contracts import CONTRACTS
from longspan.store.tables import Manifest, RowReader, read_table, require_same
from longspan.windows.shard import Shard
from longspan.windows.store import doubled_error, kept_ids, require_windows


class IndexBuilder:
    """Makes an index shard by shard; each table is looked at once, and only ids are kept.

    Args:
        kind: kind of the scores' tables.

    Attributes:
        inputs: digests of what was added.
        scores_manifest: of the first shard's scores, whose settings all others share.
    """

    def __init__(self, kind: str = "nll_scores"):
        self._kind = kind
        self.scores_manifest: Manifest | None = None
        self._shard_of: dict[str, str] = {}
        self._score_paths: dict[str, Path | str] = {}
        self._rows: list[dict] = []
        self._unknown: list[tuple[Path | str, list[str]]] = []
        self.inputs: dict[str, str] = {}

    def add(self, shard: str, windows: RowReader | Shard, scores: RowReader) -> None:
        """Add a shard: its windows, and the table of their scores.

        Raises:
            ValueError: a window that another shard has too, a score of other tokens (stale), or scores of
                other settings than the first shard's, or of another tokenizer than the windows'.
        """
        digest_of_window = self._windows(shard, windows)
        path, manifest = scores.path, scores.manifest
        self.scores_manifest = self.scores_manifest or manifest
        for name in ("settings", "stage_version", "tokenizer", "inputs"):
            if getattr(self.scores_manifest, name) != getattr(manifest, name):
                raise ValueError(
                    f"{path} was scored with other {name} than the shards before it; "
                    "delete it and run the same target again"
                )
        if manifest.tokenizer != windows.manifest.tokenizer:
            raise ValueError(_fault(path, "was scored with windows of another tokenizer than there are now"))
        self.inputs[f"scores/{shard}"] = manifest.data_digest
        self._score_paths[shard] = path
        unknown = []
        for place, row in enumerate(scores.read(["data_id", "tokens_digest"]).to_pylist()):
            data_id = row["data_id"]
            if data_id not in digest_of_window:
                unknown.append(data_id)
                continue
            if digest_of_window[data_id] != row["tokens_digest"]:
                raise ValueError(_fault(path, f"holds a score of {data_id} for other tokens than it has now"))
            self._rows.append({"data_id": data_id, "shard": shard, "row": place})
        if unknown:
            self._unknown.append((path, unknown))

    def _windows(self, shard: str, windows: RowReader | Shard) -> dict[str, int]:
        self.inputs[f"windows/{shard}"] = windows.manifest.data_digest
        table = windows.windows if isinstance(windows, Shard) else windows.read(["data_id", "tokens_digest"])
        ids, digests = (table.column(name).to_pylist() for name in ("data_id", "tokens_digest"))
        for data_id in ids:
            if data_id in self._shard_of:
                raise doubled_error(windows.path, data_id)
            self._shard_of[data_id] = shard
        return dict(zip(ids, digests, strict=True))

    @property
    def windows_digests(self) -> dict[str, str]:
        """Digest of the windows by shard, of the shards that were added."""
        prefix = "windows/"
        return {
            name.removeprefix(prefix): digest
            for name, digest in self.inputs.items()
            if name.startswith(prefix)
        }

    def finish(self, wanted: Collection[str] | None = None) -> tuple[list[dict], dict[str, str]]:
        """Rows of the index, and the digests of what it was made of; see `build_index`.

        Args:
            wanted: ids of the windows that must have a score; None for all.

        Raises:
            ValueError: a score of another shard's window (foreign), or one that is missing, with the shard to
                rerun.
        """
        # Scores of windows that are not there at present, of a larger sample say, are left out.
        for path, unknown in self._unknown:
            for data_id in unknown:
                if data_id in self._shard_of:
                    raise ValueError(
                        _fault(path, f"holds {data_id}, a window of shard {self._shard_of[data_id]}")
                    )
        if wanted is None:
            wanted = self._shard_of.keys()
        seen = {row["data_id"] for row in self._rows}
        if missing := [data_id for data_id in wanted if data_id not in seen]:
            lacking = sorted({self._shard_of[data_id] for data_id in missing})
            raise ValueError(
                f"scores cover {len(wanted) - len(missing)} of {len(wanted)} windows; first missing: "
                f"{', '.join(missing[:3])}; rerun {CONTRACTS[self._kind].rule} for shard "
                f"{', '.join(lacking)} (delete "
                f"{', '.join(str(self._score_paths[shard]) for shard in lacking[:3])})"
            )
        return self._rows, self.inputs


def build_index(
    windows: Mapping[str, Path | str],
    scores: Mapping[str, Path | str],
    kept: Iterable[Path | str] = (),
    *,
    kind: str = "nll_scores",
) -> tuple[list[dict], dict[str, str]]:
    """Rows of the index, and the digests of what it was made of, as `windows/{shard}` and `scores/{shard}`.

    Only ids are read, so memory does not grow with the scores.

    Args:
        windows: windows file by shard.
        scores: scores file by shard.
        kept: kept windows of selections; if any, only those must have a score.
        kind: kind of the scores' tables.

    Raises:
        ValueError: as `IndexBuilder.add` and `IndexBuilder.finish`.
    """
    index = IndexBuilder(kind)
    for shard, path in windows.items():
        index.add(shard, RowReader(path, "windows"), RowReader(scores[shard], kind))
    kept = list(kept)
    return index.finish(kept_ids(kept, index.windows_digests) if kept else None)


def nll_batches(scores: RowReader) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    """Stream a store: ids of some windows, and their NLL by column, float64 [B, T-1], a few MB at a time."""
    columns = [name for name in scores.column_names if name.endswith("_nll")]
    for batch in scores.row_batches(8, ["data_id", *columns]):
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
