"""Small tables of tokens, windows and scores, as the chain would write them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from longspan.scoring.store import ScoreWriter
from longspan.store.tables import read_table, write_table
from longspan.windows.assignment import tokens_digest
from longspan.windows.store import WindowStore

WINDOW_TOKENS = 8
GEOMETRY = {"corpus": "books", "window_tokens": WINDOW_TOKENS, "policy": "stride", "bos_token_id": None}


def write_tokens(path: Path, documents: dict[str, int], tokenizer: str = "t" * 64) -> None:
    """Documents of so many tokens; token i of a document is 100 times its number plus i."""
    rows = [
        {
            "document_id": name,
            "input_ids": 100 * number + np.arange(length),
            "char_deltas": [0] + [1] * length,
            "split_positions": [],
        }
        for number, (name, length) in enumerate(documents.items(), start=1)
    ]
    write_table(path, "tokens", rows, settings={}, inputs={"documents": "d"}, tokenizer=tokenizer)


def write_windows(path: Path, tokens: Path, spans: list[tuple[str, int]], **settings) -> list[str]:
    """Windows that begin at the given tokens of documents; their ids."""
    table, manifest = read_table(tokens, "tokens")
    ids_of = {row["document_id"]: row["input_ids"] for row in table.to_pylist()}
    geometry = GEOMETRY | settings
    bos = [] if geometry["bos_token_id"] is None else [geometry["bos_token_id"]]
    text_tokens = geometry["window_tokens"] - len(bos)
    rows = [
        {
            "data_id": f"books-{path.stem}_{number:07d}",
            "document_id": document_id,
            "category": "prose" if document_id < "m" else "verse",
            "token_start": start,
            "token_stop": start + text_tokens,
            "char_start": start,
            "char_stop": start + text_tokens,
            "tokens_digest": tokens_digest(bos + ids_of[document_id][start : start + text_tokens]),
        }
        for number, (document_id, start) in enumerate(spans, start=1)
    ]
    write_table(
        path,
        "windows",
        rows,
        settings={"sampling": {}, "seed": None} | geometry,
        inputs={"tokens": manifest.data_digest, "documents": "d"},
        tokenizer=manifest.tokenizer,
    )
    return [row["data_id"] for row in rows]


def write_shards(folder: Path) -> dict[str, list[str]]:
    """Two shards of tokens and windows under `folder`; the ids by shard."""
    shards = {"00000": {"alpha": 20, "mu": 9}, "00001": {"beta": 16}}
    spans = {"00000": [("alpha", 0), ("alpha", 8), ("mu", 1)], "00001": [("beta", 0), ("beta", 8)]}
    ids = {}
    for shard, documents in shards.items():
        write_tokens(folder / "tokens" / f"{shard}.parquet", documents)
        ids[shard] = write_windows(
            folder / "windows" / f"{shard}.parquet", folder / "tokens" / f"{shard}.parquet", spans[shard]
        )
    return ids


def window_store(folder: Path, *shards: str) -> WindowStore:
    """The store over shards that `write_shards` wrote."""
    return WindowStore(
        {
            shard: (folder / "tokens" / f"{shard}.parquet", folder / "windows" / f"{shard}.parquet")
            for shard in shards or ("00000", "00001")
        }
    )


def score_row(data_id: str) -> dict:
    """A window's scores: numbers that its id decides."""
    draw = np.random.default_rng(list(data_id.encode()))
    values = draw.uniform(0, 12, 2 * (WINDOW_TOKENS - 1)).astype(np.float16)
    return {
        "data_id": data_id,
        "short_nll": values[: WINDOW_TOKENS - 1],
        "long_nll": values[WINDOW_TOKENS - 1 :],
    }


def score_manifest(**changes) -> dict:
    """What the scores are made of, beside the windows."""
    return {"settings": {"base_length": 4}, "inputs": {"model": "m"}, "stage_version": 1} | changes


def write_scores(path: Path, windows: WindowStore, data_ids: Iterable[str] | None = None, **changes) -> None:
    """A finished store of these windows, or of all of the shard."""
    path.unlink(missing_ok=True)
    with ScoreWriter(path, "nll_scores", windows, **score_manifest(**changes)) as writer:
        for data_id in windows.data_ids if data_ids is None else data_ids:
            writer.append([score_row(data_id)])
        writer.finish()


def write_stores(folder: Path) -> dict[str, list[str]]:
    """The shards of `write_shards` with all their scores under `folder`; the ids by shard."""
    ids = write_shards(folder)
    for shard in ids:
        write_scores(folder / "scores" / f"{shard}.parquet", window_store(folder, shard))
    return ids
