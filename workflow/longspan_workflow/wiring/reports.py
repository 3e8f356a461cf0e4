"""The report: what the summary, the funnel and the figures are made from."""

from pathlib import Path

from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.blocks import Settings
from longspan_workflow.settings.controls import Arm, arms
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.evaluations import BASE, Evaluations
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.runs import Runs
from longspan_workflow.wiring.scores import Scores
from longspan_workflow.wiring.windows import Windows


class Reports:
    """Inputs and parameters of rules/report.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
        scores: tables of stores.
        runs: trainings.
        evaluations: evaluations.
    """

    def __init__(
        self,
        settings: Settings,
        places: Places,
        windows: Windows,
        scores: Scores,
        runs: Runs,
        evaluations: Evaluations,
    ):
        self._settings, self._places, self._windows = settings, places, windows
        self._scores, self._runs, self._evaluations = scores, runs, evaluations
        self._used = Used(settings)

    # Summary and funnel

    def summary_settings(self) -> dict:
        """Tables that the summary and the funnel read, by name; shards as a folder and their number."""
        windowings = self._used.windowings
        return {
            # The windows of any windowing count all documents of their corpus.
            "corpora": {windowing.corpus_name: windowing.key for windowing in windowings},
            "windowings": {
                windowing.key: {
                    "folder": self._windows.folder_here(windowing),
                    "shards": windowing.corpus.shards,
                }
                for windowing in windowings
            },
            "stores": {
                f"{windowing.key}/{scorer.key}": {
                    "folder": self._scores.folder_here(windowing, scorer),
                    "shards": windowing.corpus.shards,
                }
                for windowing, scorer in self._frozen_stores()
            },
            "selections": {
                selection.key: [selection.windowing_name, self._here(self._selection(selection.key))]
                for selection in self._used.selections
            },
            "comparisons": {
                name: [self._here(path) for path in paths] for name, paths in self._comparisons().items()
            },
            "trainings": {name: self._here(path) for name, path in self._metrics().items()},
            "evaluations": [
                {
                    "name": f"{run.key}/{trained}",
                    "task": task.name,
                    "base": self._here(self._evaluations.path(run, BASE, name)),
                    "trained": self._here(self._evaluations.path(run, trained, name)),
                }
                for run in self._settings.runs.values()
                for name, task in self._evaluations.of_run(run).items()
                for trained in self._evaluations.trained(run)
            ],
            "verdict": self._here(self._places.verdict) if self._evaluations.all() else None,
        }

    def summary_inputs(self) -> list[str]:
        """Everything that the summary and the funnel depend on."""
        windowings = self._used.windowings
        counted = {windowing.corpus_name: windowing for windowing in windowings}
        return [
            *(self._windows.windows_of(windowing, HELD_OUT) for windowing in counted.values()),
            *(path for windowing in windowings for path in self._windows.all_windows(windowing)),
            *self._scores.indexes(),
            *(self._selection(selection.key) for selection in self._used.selections),
            *(path for paths in self._comparisons().values() for path in paths),
            *self._metrics().values(),
            *self._evaluations.all(),
            *([self._places.verdict] if self._evaluations.all() else []),
        ]

    # Comparisons of models

    def comparison_settings(self) -> dict:
        """Tables of evaluations, with what each training is compared with."""
        judged: dict[str, list[Arm]] = {}
        for arm in arms(self._settings):
            judged.setdefault(arm.run.key, []).append(arm)
        return {
            "seed": derive_seed(self._settings.seed, "compare_models", ""),
            "evaluations": [
                {
                    "evaluation": name,
                    "task": task.name,
                    "run": own[0].run.key,
                    "base": self._here(self._evaluations.path(own[0].run, BASE, name)),
                    "models": self._compared_models(name, own),
                }
                for own in judged.values()
                for name, task in self._evaluations.of_run(own[0].run).items()
            ],
        }

    def _compared_models(self, evaluation: str, own: list[Arm]) -> list[dict]:
        """The trainings of a run, and behind them their controls, each once."""
        found = {}
        for arm in own:
            controls = {name: [run.key, loss.key] for name, (run, loss) in arm.controls.items()}
            found[arm.run.key, arm.loss.key] = self._compared_model(
                evaluation, arm.run, arm.loss, self._evaluations.short_context(arm.run, arm.loss), controls
            )
        for arm in own:
            context = self._evaluations.short_context(arm.run, arm.loss)
            for run, loss in arm.controls.values():
                if (run.key, loss.key) not in found:
                    model = self._compared_model(evaluation, run, loss, context, {})
                    found[run.key, loss.key] = model | {"is_control": True}
        return list(found.values())

    def _compared_model(self, evaluation, run, loss, short_context, controls) -> dict:
        paths = [self._evaluations.path(run, f"{loss.key}/seed{seed}", evaluation) for seed in run.seeds]
        return {
            "run": run.key,
            "loss": loss.key,
            "tables": [self._here(path) for path in paths],
            "short_context": short_context,
            "controls": controls,
            "is_control": False,
        }

    # Figures

    def figure_settings(self) -> dict:
        """Tables that the figures show, by name."""
        return {
            "selections": {
                selection.key: self._here(self._selection(selection.key))
                for selection in self._used.selections
            },
            "trainings": {name: self._here(path) for name, path in self._metrics().items()},
            "evaluations": {
                figure: {
                    "task": self._evaluations.named()[figure].name,
                    "tables": {name: self._here(path) for name, path in tables.items()},
                }
                for figure, tables in self._evaluation_tables().items()
            },
        }

    def figure_paths(self) -> dict[str, str]:
        """Files of the figures by name."""
        names = [
            *(["selections"] if self._used.selections else []),
            *(["trainings"] if self._used.trainings else []),
            *(f"evaluation-{name}" for name in self._evaluation_tables()),
        ]
        return {name: self._places.figure.format(figure=name) for name in names}

    def figure_inputs(self) -> list[str]:
        """Everything that the figures depend on."""
        return [
            *(self._selection(selection.key) for selection in self._used.selections),
            *self._metrics().values(),
            *self._evaluations.all(),
        ]

    def _evaluation_tables(self) -> dict[str, dict[str, str]]:
        """Tables by evaluation, and by run and model."""
        found: dict[str, dict[str, str]] = {}
        for run in self._settings.runs.values():
            for name in self._evaluations.of_run(run):
                for trained in self._evaluations.measured(run):
                    path = self._evaluations.path(run, trained, name)
                    found.setdefault(name, {})[f"{run.key}/{trained}"] = path
        return found

    # Names in use

    def _frozen_stores(self):
        for windowing, scorer in self._used.frozen_stores:
            yield self._settings.windowings[windowing], self._settings.scorers[scorer]

    def _selection(self, name: str) -> str:
        return self._places.selection.format(selection=name)

    def _metrics(self) -> dict[str, str]:
        return {
            f"{item['run']}/{item['loss']}/seed{item['seed']}": str(
                Path(self._places.run.format(**item), "metrics.parquet")
            )
            for item in self._runs.trainings()
        }

    def _comparisons(self) -> dict[str, list[str]]:
        """Selections in use but controls', each with later ones and the report's over the same windowing."""
        blocks, own = self._used.compared_selections, {block.key for block in self._used.own_selections}
        return {
            f"{first.key}, {second.key}": [self._selection(first.key), self._selection(second.key)]
            for place, first in enumerate(blocks)
            for second in blocks[place + 1 :]
            if first.key in own and first.windowing_name == second.windowing_name
        }

    def _here(self, path: str) -> str:
        return self._places.here(path)
