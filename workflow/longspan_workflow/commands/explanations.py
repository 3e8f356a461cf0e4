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
from longspan_workflow.settings.blocks import Corpus, ScorerBlock
from longspan_workflow.wiring.wiring import Wiring

_DATA_ID = re.compile(r"(?P<corpus>.+)-(?P<shard>\d{5}|held_out)_\d{7}")


def explain(wiring: Wiring, name: str) -> dict:
    """What is known of a window (by data_id) or a document (by document_id).

    Raises:
        ValueError: there is none of that name, and the nearest are named; or a table is missing or damaged.
    """
    match = _DATA_ID.fullmatch(name)
    corpora = wiring.settings.corpora
    if match and match["corpus"] in corpora:
        return _Shard(wiring, corpora[match["corpus"]], match["shard"]).explain_window(name)
    known: list[str] = []
    for corpus in corpora.values():
        for shard in corpus.all_shard_names:
            part = _Shard(wiring, corpus, shard)
            if name in part.document_ids:
                return part.explain_document(name)
            known += part.document_ids
    raise unknown("window or document", name, known)


def in_words(answer: dict) -> list[str]:
    """Why, in sentences: an answer of `explain` for those who do not want all of it."""
    if "windowings" not in answer:
        return [f"{answer['document_id']} is {answer['why']}"]
    sentences = []
    for windowing, found in answer["windowings"].items():
        if "windows" in found:
            windows = found["windows"] if isinstance(found["windows"], dict) else {}
            kept = [data_id for data_id, fate in windows.items() if fate["kept"]]
            sentences.append(f"{windowing}: {len(windows)} windows, {len(kept)} of them used")
        elif "why" in found:
            sentences.append(f"{windowing}: {found['why']}")
        else:
            sentences += [_selected(windowing, name, row) for name, row in found["selections"].items()]
            uses = [f"training {name}" for name in found["trainings"]]
            uses += [f"export {name}" for name in found["exports"]]
            sentences.append(f"{windowing}: {'used by ' + ', '.join(uses) if uses else 'nothing uses it'}")
    return sentences or ["it is in no windowing that was cut yet"]


def _selected(windowing: str, name: str, row: dict) -> str:
    return (
        f"{windowing}, selection {name}: {row['reason']}; rank {row['rank']:,} over all, better than "
        f"or equal to {row['percentile']:.1f}% of its category (score {row['score']:.4g})"
    )


def cut_window(wiring: Wiring, windowing: str, data_id: str) -> dict:
    """A window's row as its shard's table has it, also of one that sampling left out.

    Raises:
        ValueError: the shard cuts no window of this id.
    """
    match = _DATA_ID.fullmatch(data_id)
    corpus = wiring.settings.windowings[windowing].corpus
    if not match or match["corpus"] != corpus.key:
        raise unknown("window", data_id, [])
    return _Shard(wiring, corpus, match["shard"]).cut_window(windowing, data_id)


class _Shard:
    """One shard of a corpus, with the windows that each windowing cuts from it."""

    def __init__(self, wiring: Wiring, corpus: Corpus, shard: str):
        self._wiring, self._settings, self._places = wiring, wiring.settings, wiring.places
        self._corpus, self._shard = corpus, shard
        self._tables: dict[str, RowsById] = {}
        self._documents = wiring.places.documents.format(corpus=corpus.key, shard=shard)
        self._dropped = wiring.places.dropped.format(corpus=corpus.key, shard=shard)
        self._windowings = [
            name
            for name, windowing in wiring.settings.windowings.items()
            if windowing.corpus_name == corpus.key and Path(self._windows(name)).exists()
        ]

    def _windows(self, windowing: str) -> str:
        return self._places.windows.format(windowing=windowing, shard=self._shard)

    def _tokens(self, windowing: str) -> str:
        return self._wiring.windows.tokens_of(self._settings.windowings[windowing], self._shard)

    def _scores_path(self, windowing: str, scorer: ScorerBlock) -> str:
        return self._places.scores.format(windowing=windowing, scorer=scorer.key, shard=self._shard)

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

    def cut_window(self, windowing: str, data_id: str) -> dict:
        """A row of all windows that are cut, before sampling."""
        cut = self._cut(windowing)
        for row in cut:
            if row["data_id"] == data_id:
                return row
        raise unknown("window", data_id, [row["data_id"] for row in cut])

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
            "corpus": self._corpus.key,
            "shard": self._shard,
            "text": text,
            "windowings": windowings,
        }

    def _cut(self, windowing: str) -> list[dict]:
        settings = describe_manifest(self._windows(windowing), "windows", self._shard)["settings"]
        id_prefix = f"{self._corpus.key}-{self._shard}"
        return cut_windows(self._documents, self._tokens(windowing), settings, id_prefix)

    def _fate(self, windowing: str, window: dict, cut: list[dict]) -> dict:
        """Whether and where a window is kept, and why."""
        data_id, settings = window["data_id"], self._settings
        if self._rows(self._windows(windowing), "windows").get(data_id) is None:
            made_with = describe_manifest(self._windows(windowing), "windows", self._shard)["settings"]
            return {"kept": False, "why": sampling_of(window, cut, made_with)}
        if self._shard == HELD_OUT:
            return {"kept": False, "why": "held out: the evaluations measure on it, nothing trains on it"}
        selections = {}
        for name, stage in settings.stages.items():
            path = self._places.selection.format(selection=name)
            if stage.windowing_name == windowing and Path(path).exists():
                row = self._rows(path, "selection").get(data_id)
                selections[name] = {
                    key: row[key] for key in ("kept", "reason", "score", "rank", "percentile")
                }
        kept_by = {name for name, row in selections.items() if row["kept"]}

        def takes(block) -> bool:
            if block.selection_name is not None:
                return block.selection_name in kept_by
            return block.windowing_name == windowing

        trainings = [
            f"{name}/{loss}" for name, run in settings.runs.items() if takes(run) for loss in run.loss_names
        ]
        exports = [name for name, export in settings.exports.items() if takes(export)]
        fate = {"selections": selections, "trainings": trainings, "exports": exports}
        return {"kept": bool(trainings or exports), **fate}

    def _scores(self, windowing: str, data_id: str) -> dict:
        found = {}
        for name, scorer in self._settings.scorers.items():
            path = self._scores_path(windowing, scorer)
            if Path(path).exists() and (row := self._rows(path, scorer.table).get(data_id)):
                found[name] = describe_scores(row)
        return found

    def _made_by(self, windowing: str, document: dict) -> dict:
        """Every table that has a part in a window, with the settings that it was made with."""
        made_by = {
            "source": self._item(document),
            "documents": describe_manifest(self._documents, "documents", self._shard),
            "tokens": describe_manifest(self._tokens(windowing), "tokens", self._shard),
            "windows": describe_manifest(self._windows(windowing), "windows", self._shard),
        }
        models = {self._settings.windowings[windowing].tokenizer_name}
        for name, scorer in self._settings.scorers.items():
            path = self._scores_path(windowing, scorer)
            if Path(path).exists():
                made_by[f"scores of {name}"] = describe_manifest(path, scorer.table, self._shard)
                models.add(scorer.model_name)
        for name, stage in self._settings.stages.items():
            path = self._places.selection.format(selection=name)
            if stage.windowing_name == windowing and Path(path).exists():
                made_by[f"selection {name}"] = describe_manifest(path, "selection", self._shard)
        for name in sorted(models):
            manifest = read_manifest(self._places.model.format(model=name))
            made_by[f"model {name}"] = {key: manifest[key] for key in ("source", "license", "digest")}
        return made_by

    def _item(self, document: dict) -> dict:
        """The piece of a raw file that a document was read from, and how."""
        items = read_plan(self._places.plan.format(corpus=self._corpus.key, shard=self._shard))
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
        source = self._wiring.texts.archives.get(Path(path).name)
        if source is None or source.repository is None:
            return {}
        revisions = Path(self._places.revisions)
        pins = json.loads(revisions.read_text()) if revisions.exists() else {}
        commit = pins.get(source.pin, f"unknown: not in {revisions}")
        return {"hub": {"dataset": source.repository[1], "commit": commit}}
