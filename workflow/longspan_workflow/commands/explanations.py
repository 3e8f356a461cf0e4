"""Why a window or a document is kept or not, and everything that made it so, under some settings."""

import json
import re
from pathlib import Path

from longspan.corpora.plans import read_plan
from longspan.models.folders import read_manifest
from longspan.reporting.provenance import (
    RowsById,
    cut_windows,
    describe_manifest,
    describe_scores,
    describe_text,
    sampling_of,
    unknown,
)
from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.relations import losses_of
from longspan_workflow.wiring.exports import pin_of
from longspan_workflow.wiring.layout import Layout

_DATA_ID = re.compile(r"(?P<corpus>.+)-(?P<shard>\d{5}|held_out)_\d{7}")
_SCORES = {"short_nll": "nll_scores", "attention": "attention_scores"}


def explain(layout: Layout, name: str) -> dict:
    """What is known of a window (by data_id) or a document (by document_id).

    Raises:
        ValueError: there is none of that name, and the nearest are named; or a table is missing or damaged.
    """
    match = _DATA_ID.fullmatch(name)
    if match and match["corpus"] in layout.settings["corpora"]:
        return _Shard(layout, match["corpus"], match["shard"]).explain_window(name)
    known: list[str] = []
    for corpus in layout.settings["corpora"]:
        for shard in [*layout.shards(corpus), HELD_OUT]:
            part = _Shard(layout, corpus, shard)
            if name in part.document_ids:
                return part.explain_document(name)
            known += part.document_ids
    raise unknown("window or document", name, known)


class _Shard:
    """One shard of a corpus, with the windows that each windowing cuts from it."""

    def __init__(self, layout: Layout, corpus: str, shard: str):
        self._layout = layout
        self._corpus, self._shard = corpus, shard
        self._tables: dict[str, RowsById] = {}
        self._documents = layout.documents.format(corpus=corpus, shard=shard)
        self._dropped = layout.dropped.format(corpus=corpus, shard=shard)
        self._windowings = [
            name
            for name, block in layout.settings["windowings"].items()
            if block["corpus"] == corpus and Path(self._windows(name)).exists()
        ]

    def _windows(self, windowing: str) -> str:
        return self._layout.windows.format(windowing=windowing, shard=self._shard)

    @property
    def document_ids(self) -> list[str]:
        """Documents of the shard, those that were left out among them; none before it was read."""
        if not Path(self._documents).exists():
            return []
        return self._rows(self._documents, "documents").ids + self._rows(self._dropped, "dropped").ids

    def _rows(self, path: str, kind: str) -> RowsById:
        if path not in self._tables:
            self._tables[path] = RowsById(path, kind)
        return self._tables[path]

    def explain_window(self, data_id: str) -> dict:
        """A window in every windowing that has one of this id."""
        found, known = {}, []
        for windowing in self._windowings:
            cut = self._cut(windowing)
            known += [row["data_id"] for row in cut]
            window = next((row for row in cut if row["data_id"] == data_id), None)
            if window is None:
                continue
            document = self._rows(self._documents, "documents").get(window["document_id"])
            text = document.pop("text")[window["char_start"] : window["char_stop"]]
            spans = ("token_start", "token_stop", "char_start", "char_stop")
            found[windowing] = {
                **self._fate(windowing, window, cut),
                "document": document,
                "span": {name: int(window[name]) for name in spans},
                "text": describe_text(text),
                "scores": self._scores(windowing, data_id),
                "made_by": self._made_by(windowing, document),
            }
        if not found:
            raise unknown("window", data_id, known)
        return {"data_id": data_id, "windowings": found}

    def explain_document(self, document_id: str) -> dict:
        """A document, and what became of its windows."""
        document = self._rows(self._documents, "documents").get(document_id)
        if document is None:
            dropped = self._rows(self._dropped, "dropped").get(document_id)
            made_by = {
                "source": self._item(dropped),
                "dropped": describe_manifest(self._dropped, "dropped", self._shard),
            }
            return {"kept": False, "why": f"left out: {dropped['reason']}", **dropped, "made_by": made_by}
        text = describe_text(document.pop("text"))
        windowings = {}
        for windowing in self._windowings:
            cut = self._cut(windowing)
            own = [window for window in cut if window["document_id"] == document_id]
            windowings[windowing] = {
                "windows": {window["data_id"]: self._fate(windowing, window, cut) for window in own}
                or "none: the document is shorter than a window",
                "made_by": self._made_by(windowing, document),
            }
        return {
            **document,
            "corpus": self._corpus,
            "shard": self._shard,
            "text": text,
            "windowings": windowings,
        }

    def _cut(self, windowing: str) -> list[dict]:
        settings = describe_manifest(self._windows(windowing), "windows", self._shard)["settings"]
        tokens = self._layout.tokens_of(windowing, self._shard)
        return cut_windows(self._documents, tokens, settings, f"{self._corpus}-{self._shard}")

    def _fate(self, windowing: str, window: dict, cut: list[dict]) -> dict:
        """Whether and where a window is kept, and why."""
        data_id, settings = window["data_id"], self._layout.settings
        if self._rows(self._windows(windowing), "windows").get(data_id) is None:
            made_with = describe_manifest(self._windows(windowing), "windows", self._shard)["settings"]
            return {"kept": False, "why": sampling_of(window, cut, made_with)}
        if self._shard == HELD_OUT:
            return {"kept": False, "why": "held out: the evaluations measure on it, nothing trains on it"}
        selections = {}
        for name, block in settings["selections"].items():
            path = self._layout.selection.format(selection=name)
            if block["windowing"] == windowing and Path(path).exists():
                row = self._rows(path, "selection").get(data_id)
                selections[name] = {
                    key: row[key] for key in ("kept", "reason", "score", "rank", "percentile")
                }
        kept_by = {name for name, row in selections.items() if row["kept"]}

        def takes(block: dict, all_of: str | None) -> bool:
            return block["selection"] in kept_by if block.get("selection") else all_of == windowing

        trainings = [
            f"{name}/{loss}"
            for name, run in settings["runs"].items()
            if takes(run, run["windowing"])
            for loss in losses_of(run)
        ]
        exports = [
            name for name, block in settings["exports"].items() if takes(block, block.get("windowing"))
        ]
        fate = {"selections": selections, "trainings": trainings, "exports": exports}
        return {"kept": bool(trainings or exports), **fate}

    def _scores(self, windowing: str, data_id: str) -> dict:
        found = {}
        for name, block in self._layout.settings["scorers"].items():
            path = self._layout.scores.format(windowing=windowing, scorer=name, shard=self._shard)
            if Path(path).exists() and (row := self._rows(path, _SCORES[block["kind"]]).get(data_id)):
                found[name] = describe_scores(row)
        return found

    def _made_by(self, windowing: str, document: dict) -> dict:
        """Every table that has a part in a window, with the settings that it was made with."""
        settings = self._layout.settings
        tokens = self._layout.tokens_of(windowing, self._shard)
        made_by = {
            "source": self._item(document),
            "documents": describe_manifest(self._documents, "documents", self._shard),
            "tokens": describe_manifest(tokens, "tokens", self._shard),
            "windows": describe_manifest(self._windows(windowing), "windows", self._shard),
        }
        models = {settings["windowings"][windowing]["tokenizer"]}
        for name, block in settings["scorers"].items():
            path = self._layout.scores.format(windowing=windowing, scorer=name, shard=self._shard)
            if Path(path).exists():
                made_by[f"scores of {name}"] = describe_manifest(path, _SCORES[block["kind"]], self._shard)
                models.add(block["model"])
        for name, block in settings["selections"].items():
            path = self._layout.selection.format(selection=name)
            if block["windowing"] == windowing and Path(path).exists():
                made_by[f"selection {name}"] = describe_manifest(path, "selection", self._shard)
        for name in sorted(models):
            manifest = read_manifest(self._layout.model_of(name))
            made_by[f"model {name}"] = {key: manifest[key] for key in ("source", "license", "digest")}
        return made_by

    def _item(self, document: dict) -> dict:
        """The piece of a raw file that a document was read from, and how."""
        items = read_plan(self._layout.plan.format(corpus=self._corpus, shard=self._shard))
        for item in items:
            whole = item.rows is None or item.is_without_rows or item.group is not None
            rows = [None] if whole else range(*item.rows)
            if document["document_id"] in (item.document_id(row) for row in rows):
                return item.to_json() | self._hub(item.path)
        # An id of the document's own does not tell its row, only the file.
        item = next(
            item
            for item in items
            if document["source"] in (item.path, Path(item.path).name, item.public_path)
        )
        pieces = ("rows", "without", "size_bytes", "sha256", "drops")
        kept = {name: value for name, value in item.to_json().items() if name not in pieces}
        return kept | self._hub(item.path)

    def _hub(self, path: str) -> dict:
        """The hub's dataset that a file was fetched from, and its commit."""
        source = self._layout.text_archives().get(Path(path).name, {"kind": "files"})
        if not (pin := pin_of(source)):
            return {}
        revisions = Path(self._layout.revisions)
        pins = json.loads(revisions.read_text()) if revisions.exists() else {}
        return {
            "hub": {"dataset": source["dataset"], "commit": pins.get(pin, f"unknown: not in {revisions}")}
        }
