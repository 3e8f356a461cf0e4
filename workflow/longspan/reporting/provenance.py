"""Where one window or document came from, and what became of it, out of the tables that hold it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from longspan.store.contracts import CONTRACTS
from longspan.store.draws import uniform_by_id
from longspan.store.tables import RowReader, open_table, read_table
from longspan.windows.assignment import TOKEN_COLUMNS, tokenized_documents, windowing_of, windows_of

_LISTED = 99  # numbers of a list that are listed one by one: a score for each layer, say
_ENDS = 200  # characters of a text's head and tail


class RowsById:
    """Rows of a table by id, read a row group at a time.

    Args:
        path: the table.
        kind: its kind.

    Raises:
        ValueError: as `open_table`.
    """

    def __init__(self, path: Path | str, kind: str):
        names = CONTRACTS[kind].columns.names
        key = "data_id" if "data_id" in names else "document_id"
        self.ids = read_table(path, kind, [key])[0].column(0).to_pylist()
        self._row_of = {name: row for row, name in enumerate(self.ids)}
        self._rows = RowReader(path, kind, open_table(path, kind)[0].schema_arrow.names)

    def get(self, name: str) -> dict | None:
        """A row, its arrays of NLL as numpy arrays; None where there is none of that id."""
        if name not in self._row_of:
            return None
        row = self._rows[self._row_of[name]]
        return {
            column: value.values.to_numpy() if column.endswith("_nll") else value.as_py()
            for column, value in row.items()
        }


def cut_windows(documents: Path | str, tokens: Path | str, settings: Mapping, id_prefix: str) -> list[dict]:
    """All windows that a shard's documents give, the ones that sampling leaves out among them.

    Args:
        documents: table of documents.
        tokens: table of their tokens.
        settings: of the shard's windows, from their manifest.
        id_prefix: what stands before the number in the ids.
    """
    categories = read_table(documents, "documents", ["category"])[0].column(0).to_pylist()
    rows = tokenized_documents(categories, RowReader(tokens, "tokens", list(TOKEN_COLUMNS)))
    return list(windows_of(rows, windowing_of(settings), id_prefix))


def sampling_of(window: Mapping, cut: Iterable[Mapping], settings: Mapping) -> str:
    """Why sampling left a window out, in words.

    Args:
        window: the window.
        cut: all windows of its shard.
        settings: of the shard's windows, from their manifest.
    """
    (draw,) = uniform_by_id([window["data_id"]], settings["seed"])
    sampling = settings["sampling"]
    if "fraction" in sampling:
        return f"not drawn: its draw {draw:.6f} is not below the fraction {sampling['fraction']}"
    rivals = [other["data_id"] for other in cut if other["category"] == window["category"]]
    place = int((uniform_by_id(rivals, settings["seed"]) < draw).sum()) + 1
    return (
        f"not drawn: its draw is place {place} among the {len(rivals)} windows of category "
        f"'{window['category']}' in the shard, of which {sampling['windows_per_category']} are taken"
    )


def describe_text(text: str) -> dict:
    """Length, head and tail of a text."""
    if len(text) <= 2 * _ENDS:
        return {"characters": len(text), "whole": text}
    return {"characters": len(text), "begins": text[:_ENDS], "ends": text[-_ENDS:]}


def describe_scores(row: Mapping) -> dict:
    """A window's scores in numbers; of NLL the means, in nats a token, of other long lists their length."""
    numbers = {name: value for name, value in row.items() if name not in ("data_id", "tokens_digest")}
    found: dict = {}
    for name, value in numbers.items():
        if name.endswith("_nll"):
            found[f"mean_{name}"] = float(np.mean(value, dtype=np.float64))
        elif isinstance(value, list) and len(value) > _LISTED:
            found[name] = f"{len(value)} numbers"
        else:
            found[name] = value
    if {"mean_short_nll", "mean_long_nll"} <= found.keys():
        found["mean_gain"] = found["mean_short_nll"] - found["mean_long_nll"]
    return found


def describe_manifest(path: Path | str, kind: str, shard: str) -> dict:
    """What made a table: rule, settings, versions, digests of its inputs as far as the shard goes."""
    values = asdict(open_table(path, kind)[1])
    values["inputs"] = {
        name: digest for name, digest in values["inputs"].items() if name.partition("/")[2] in ("", shard)
    }
    return {"table": str(path), "rule": CONTRACTS[kind].rule} | {
        name: values[name]
        for name in ("settings", "inputs", "tokenizer", "stage_version", "schema_version", "code_digest")
        if values[name]
    }


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
    """An error that names the nearest known ids."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
    return ValueError(f"no {what} {name}; the nearest are: {', '.join(near) or 'none, since there is none'}")
