"""The page: what its counts are made from, and what it shows."""

from pathlib import Path

import yaml

from longspan.store.shards import HELD_OUT
from longspan.weighting.variant import LOSS_VARIANTS, loss_of_settings
from longspan_workflow.settings.blocks import (
    Cascade,
    LossBlock,
    SelectionBlock,
    Settings,
    Stage,
    WindowingBlock,
)
from longspan_workflow.settings.changes import beyond_defaults
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.evaluations import Evaluations
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.reports import Reports
from longspan_workflow.wiring.runs import Runs
from longspan_workflow.wiring.scores import Scores
from longspan_workflow.wiring.selections import Selections
from longspan_workflow.wiring.windows import Windows


class Pages:
    """Inputs and parameters of rules/page.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
        scores: tables of stores.
        selections: selections.
        runs: trainings.
        evaluations: evaluations.
        reports: comparisons of models.
    """

    def __init__(
        self,
        settings: Settings,
        places: Places,
        windows: Windows,
        scores: Scores,
        selections: Selections,
        runs: Runs,
        evaluations: Evaluations,
        reports: Reports,
    ):
        self._settings, self._places, self._windows = settings, places, windows
        self._scores, self._selections = scores, selections
        self._runs, self._evaluations, self._reports = runs, evaluations, reports
        self._used = Used(settings)

    # Counts of a shard

    def _nll_scorers(self, windowing: str) -> list[str]:
        """Scorers with an NLL store of a windowing that something uses."""
        return [
            scorer
            for own, scorer in self._used.stores
            if own == windowing and self._settings.scorers[scorer].table == "nll_scores"
        ]

    def _losses_of(self, scorer: str) -> dict[str, LossBlock]:
        """Losses that a store gives weights for: its own, and those that name no store."""
        losses = self._settings.losses.items()
        return {name: loss for name, loss in losses if loss.scorer_name in (scorer, None)}

    def shard_settings(self, wildcards) -> dict:
        """Losses whose weights are counted, by the scorer of a store."""
        scorers = [] if wildcards.shard == HELD_OUT else self._nll_scorers(wildcards.windowing)
        return {
            "losses": {
                scorer: {name: loss.as_settings("scorer", "self_scoring") for name, loss in losses.items()}
                for scorer in scorers
                for losses in [self._losses_of(scorer)]
            }
        }

    def shard_inputs(self, wildcards) -> dict[str, str | list[str]]:
        """Tables of a shard."""
        windowing, shard = self._settings.windowings[wildcards.windowing], wildcards.shard
        return {
            "windows": self._windows.windows_of(windowing, shard),
            "documents": self._windows.documents_of(windowing, shard),
            "tokens": self._windows.tokens_of(windowing, shard),
            "dropped": self._places.dropped.format(corpus=windowing.corpus_name, shard=shard),
            "scores": [
                self._places.scores.format(windowing=windowing.key, scorer=scorer, shard=shard)
                for scorer in self.shard_settings(wildcards)["losses"]
            ],
        }

    def shard_scores(self, wildcards, input) -> list[str]:
        """Stores of a shard by scorer, for the command line."""
        scorers = self.shard_settings(wildcards)["losses"]
        return [f"{scorer}={path}" for scorer, path in zip(scorers, input.scores, strict=True)]

    # Counts of a selection

    def selection_inputs(self, wildcards) -> dict[str, str | list[str]]:
        """Table of a selection; also what its own numbers are read from, if it is drawn by such."""
        block = self._settings.stages[wildcards.selection]
        return {
            "selection": self._places.selection.format(selection=block.key),
            "windows": self._windows.all_windows(block.windowing),
            "scores": self._scores.of_all_shards(block.windowing, block.scorer) if _is_mapped(block) else [],
        }

    # The page

    def page_settings(self) -> dict:
        """What the page shows, and the tables that it reads; shards as a folder and their number."""
        return {
            "title": self._settings.report.title,
            "windowings": {block.key: self.windowing_tables(block) for block in self._used.windowings},
            "selections": [self._selection(block) for block in self._used.compared_selections],
            "losses": self._losses(),
            "trainings": {
                f"{item['run']}/{item['loss']}/seed{item['seed']}": self._here(
                    self._places.run.format(**item)
                )
                for item in self._runs.trainings()
            },
            "comparison": self._reports.comparison_settings(),
            "changed": yaml.safe_dump(
                beyond_defaults(self._settings), sort_keys=False, allow_unicode=True, width=100
            ),
            "licenses": self._licenses(),
            "estimate": self._here(self._places.estimate),
        }

    def page_inputs(self) -> dict[str, list[str]]:
        """Everything that the page shows."""
        windowings, shards = self._used.windowings, self._places.shard_aggregate
        selections = [block.key for block in self._used.compared_selections]
        return {
            "shards": [
                shards.format(windowing=windowing.key, shard=shard)
                for windowing in windowings
                for shard in windowing.corpus.all_shard_names
            ],
            "selections": [self._places.selection_aggregate.format(selection=name) for name in selections],
            "tables": [
                *(self._places.selection.format(selection=name) for name in selections),
                *(path for windowing in windowings for path in self._tables(windowing)),
            ],
            "runs": [
                str(Path(self._places.run.format(**item), "metrics.parquet"))
                for item in self._runs.trainings()
            ],
            "models": self._evaluations.all(),
        }

    def verdict_inputs(self) -> dict[str, list[str]]:
        """Tables of the evaluations and verdict, if any model is measured."""
        is_measured = bool(self._evaluations.all())
        return {
            "evaluation": [self._places.evaluation_table] if is_measured else [],
            "markdown": [self._places.evaluation_markdown] if is_measured else [],
            "verdict": [self._places.verdict] if is_measured else [],
        }

    def _tables(self, windowing: WindowingBlock) -> list[str]:
        scorers = [self._settings.scorers[name] for name in self._nll_scorers(windowing.key)]
        return [
            *self._windows.all_windows(windowing),
            *self._windows.all_tokens(windowing),
            *self._windows.all_documents(windowing),
            *(path for scorer in scorers for path in self._scores.of_all_shards(windowing, scorer)),
        ]

    def windowing_tables(self, block: WindowingBlock) -> dict:
        """Tables of a windowing and of its stores: shards as a folder and their number."""

        def folder(path: str) -> str:
            return str(Path(self._here(path)).parent)

        return {
            "corpus": block.corpus_name,
            "shards": block.corpus.shards,
            "window_tokens": block.window_tokens,
            "aggregates": folder(self._places.shard_aggregate.format(windowing=block.key, shard=HELD_OUT)),
            "windows": self._windows.folder_here(block),
            "tokens": folder(self._windows.tokens_of(block, HELD_OUT)),
            "documents": folder(self._windows.documents_of(block, HELD_OUT)),
            "stores": {
                scorer: {
                    "folder": self._scores.folder_here(block, self._settings.scorers[scorer]),
                    "model": self._settings.scorers[scorer].model_name,
                    "short_context": self._settings.scorers[scorer].base_length,
                    "losses": list(self._losses_of(scorer)),
                }
                for scorer in self._nll_scorers(block.key)
            },
            "sources": [
                {"category": source.category, "origin": source.origin} for source in block.corpus.sources
            ],
        }

    def _selection(self, block: SelectionBlock | Cascade) -> dict:
        last = block.stages[-1]
        return {
            "name": block.key,
            "windowing": block.windowing_name,
            "aggregate": self._here(self._places.selection_aggregate.format(selection=block.key)),
            "table": self._here(self._places.selection.format(selection=block.key)),
            "runs": [run.key for run in self._settings.runs.values() if run.selection_name == block.key],
            "exports": [
                export.key for export in self._settings.exports.values() if export.selection_name == block.key
            ],
            "keep": last.keep.as_settings(),
            "method": last.method,
        }

    def _losses(self) -> list[dict]:
        """Losses of the settings, then the published ones with their defaults that are none of these."""
        used = {loss.key for _, loss, _ in self._used.trainings}
        found = {
            name: {
                "name": name,
                "block": loss.as_settings("scorer", "self_scoring"),
                "label": loss.label,
                "scorer": loss.scorer_name,
                "is_used": name in used,
            }
            for name, loss in self._settings.losses.items()
        }
        blocks = [entry["block"] for entry in found.values()]
        for variant in LOSS_VARIANTS:
            block = {"variant": variant.name}
            has_defaults = not any(field.is_required() for field in variant.model_fields.values())
            if variant.name in found or block in blocks or not has_defaults:
                continue
            label = loss_of_settings(block).label
            found[variant.name] = {
                "name": variant.name,
                "block": block,
                "label": label,
                "scorer": None,
                "is_used": None,
            }
        # Those that models were trained with come first.
        return sorted(found.values(), key=lambda entry: not entry["is_used"])

    def _licenses(self) -> list[dict[str, str]]:
        models = [
            {"what": f"model {model.key}", "from": model.source.origin, "license": model.license}
            for model in self._used.models
        ]
        texts = [
            {"what": f"texts, {source.category}", "from": source.origin, "license": source.license}
            for corpus in self._used.corpora
            for source in corpus.sources
        ]
        return models + texts

    def _here(self, path: str) -> str:
        return self._places.here(path)


def _is_mapped(block: Stage) -> bool:
    return block.before is None and block.scorer is not None and bool(block.axes)
