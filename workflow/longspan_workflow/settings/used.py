"""What of the settings a run of all targets uses: said once, for the rules, the report and the estimate."""

from collections.abc import Iterator
from functools import cached_property

from longspan_workflow.settings.blocks import (
    Corpus,
    EvaluationBlock,
    LossBlock,
    Model,
    Run,
    SelectionBlock,
    Settings,
    WindowingBlock,
)

# (windowing, scorer), by names.
Store = tuple[str, str]


class Used:
    """Blocks that runs, exports and the report use, each once, in the order in which they are named.

    Args:
        settings: the settings.
    """

    def __init__(self, settings: Settings):
        self._settings = settings

    @cached_property
    def trainings(self) -> list[tuple[Run, LossBlock, int]]:
        """Run, loss and seed of every training."""
        runs = self._settings.runs.values()
        return [(run, loss, seed) for run in runs for loss in run.losses for seed in run.seeds]

    @cached_property
    def windowings(self) -> list[WindowingBlock]:
        """Windowings of runs and exports; those of compared selections are among them."""
        blocks = [*self._settings.runs.values(), *self._settings.exports.values()]
        return _each_once(block.windowing for block in blocks)

    @cached_property
    def corpora(self) -> list[Corpus]:
        """Corpora of these windowings and of mixtures."""
        mixtures = [run.mixture for run in self._settings.runs.values() if run.mixture is not None]
        short = [corpus for mixture in mixtures for corpus in mixture.corpora]
        return _each_once([*(windowing.corpus for windowing in self.windowings), *short])

    @cached_property
    def tokenized(self) -> list[tuple[Corpus, Model]]:
        """Corpora with the models whose tokenizers they go through."""
        pairs = [(windowing.corpus, windowing.tokenizer) for windowing in self.windowings]
        for run in self._settings.runs.values():
            if run.mixture is not None:
                pairs += [(corpus, run.windowing.tokenizer) for corpus in run.mixture.corpora]
        return list({(corpus.key, model.key): (corpus, model) for corpus, model in pairs}.values())

    @cached_property
    def selections(self) -> list[SelectionBlock]:
        """Selections of runs and exports, those of controls behind them."""
        controls = [run for run in self._settings.runs.values() if run.control_of is not None]
        return _each_once([*self.own_selections, *(run.selection for run in controls if run.selection)])

    @cached_property
    def own_selections(self) -> list[SelectionBlock]:
        """Selections of exports, and of runs that are no control."""
        runs = [run for run in self._settings.runs.values() if run.control_of is None]
        blocks = [*runs, *self._settings.exports.values()]
        return _each_once(block.selection for block in blocks if block.selection is not None)

    @cached_property
    def compared_selections(self) -> list[SelectionBlock]:
        """These, and behind them those that the report compares them with."""
        names = self._settings.report.compare_selections
        return _each_once([*self.selections, *(self._settings.find("selections", name) for name in names)])

    @cached_property
    def frozen_stores(self) -> dict[Store, list[str | None]]:
        """Stores of frozen NLL that runs and exports weigh tokens by, and of which windows.

        Those are the names of the selections whose kept windows are enough, and None if all are needed.
        """
        stores: dict[Store, list[str | None]] = {}
        for windowing, loss, selection in self._weighed():
            if loss.scorer_name is not None:
                parts = stores.setdefault((windowing, loss.scorer_name), [])
                if selection not in parts:
                    parts.append(selection)
        return stores

    def _weighed(self) -> Iterator[tuple[str, LossBlock, str | None]]:
        for run in self._settings.runs.values():
            for loss in run.losses:
                yield run.windowing_name, loss, run.selection_name if run.select_first else None
        for export in self._settings.exports.values():
            if export.loss is not None:
                yield export.windowing.key, export.loss, export.selection_name

    @cached_property
    def selecting_stores(self) -> dict[Store, list[str]]:
        """Stores that the selections choose by, with the selections, also those that nothing uses.

        A selection that nothing uses can be asked for by its file.
        """
        stores: dict[Store, list[str]] = {}
        for name, selection in self._settings.selections.items():
            if selection.scorer is not None:
                stores.setdefault((selection.windowing_name, selection.scorer.key), []).append(name)
        return stores

    @cached_property
    def stores(self) -> list[Store]:
        """Stores that compared selections choose by, then those that tokens are weighed by."""
        used = {selection.key for selection in self.compared_selections}
        selecting = [store for store, names in self.selecting_stores.items() if used & set(names)]
        return list(dict.fromkeys([*selecting, *self.frozen_stores]))

    @cached_property
    def prepared(self) -> list[tuple[EvaluationBlock, WindowingBlock]]:
        """Evaluations that runs name and that an evaluator prepares, with the windowings that they are of."""
        pairs = {
            (name, run.windowing_name): (self._settings.find("evaluations", name), run.windowing)
            for run in self._settings.runs.values()
            for name in run.evaluations
        }
        return [pair for pair in pairs.values() if pair[0].evaluator is not None]

    @cached_property
    def models(self) -> list[Model]:
        """Models of tokenizers, scorers, runs and evaluators."""
        return _each_once(
            [
                *(windowing.tokenizer for windowing in self.windowings),
                *(self._settings.find("scorers", scorer).model for _, scorer in self.stores),
                *(run.model for run in self._settings.runs.values()),
                *(evaluation.evaluator for evaluation, _ in self.prepared),
            ]
        )


def _each_once(blocks) -> list:
    return list({block.key: block for block in blocks}.values())
