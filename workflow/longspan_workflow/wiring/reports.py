"""Where the summary, the funnel and the figures lie and what goes into them."""

from pathlib import Path

from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.relations import scored_pairs, windowing_of_export
from longspan_workflow.wiring.layout import Layout
from longspan_workflow.wiring.runs import BASE, Runs


class Reports:
    """Paths and settings blocks of what is told of one workflow's results.

    Args:
        layout: paths and settings of texts, windows, scores and selections.
        runs: those of trainings and evaluations.
    """

    def __init__(self, layout: Layout, runs: Runs):
        self._layout = layout
        self._settings = layout.settings
        self._runs = runs
        self.estimate = f"{layout.results}/estimate.tsv"
        self.settings_record = f"{layout.results}/settings.yaml"
        self.summary = f"{layout.results}/summary.txt"
        self.summary_table = f"{layout.results}/summary.tsv"
        self.funnel = f"{layout.results}/funnel.tsv"
        self.figures = f"{layout.results}/figures/{{figure}}.svg"
        self.report = f"{layout.results}/report.html"

    def summary_settings(self) -> dict:
        """Tables that the summary and the funnel read, by name; shards as a folder and their number."""
        used = {name: self._settings["windowings"][name] for name in self._used_windowings()}
        # The windows of any windowing count all documents of their corpus.
        corpora = {block["corpus"]: name for name, block in used.items()}
        pairs = scored_pairs(self._settings)
        return {
            "corpora": corpora,
            "windowings": {
                name: self._folder(self._layout.windows, block["corpus"], windowing=name)
                for name, block in used.items()
            },
            "stores": {
                f"{windowing}/{scorer}": self._folder(
                    self._layout.scores, used[windowing]["corpus"], windowing=windowing, scorer=scorer
                )
                for windowing, scorer in pairs
            },
            "selections": {
                name: [self._settings["selections"][name]["windowing"], path]
                for name, path in self._used_selections().items()
            },
            "comparisons": self._comparisons(),
            "trainings": self._metrics(),
            "evaluations": {
                _label(item): [
                    self._runs.evaluation.format(run=item["run"], trained=name)
                    for name in (BASE, f"{item['loss']}/seed{item['seed']}")
                ]
                for item in self._runs.trainings()
            },
        }

    def summary_inputs(self) -> list[str]:
        """Everything that the summary and the funnel depend on."""
        settings = self.summary_settings()
        held_out = [
            self._layout.windows.format(windowing=name, shard=HELD_OUT)
            for name in settings["corpora"].values()
        ]
        return [
            *held_out,
            *(path for name in settings["windowings"] for path in self._layout.all_windows(name)),
            *self._layout.score_indexes(),
            *self._used_selections().values(),
            *(path for paths in settings["comparisons"].values() for path in paths),
            *settings["trainings"].values(),
            *self._runs.evaluations(),
        ]

    def figure_settings(self) -> dict:
        """Tables that the figures show, by name."""
        evaluations = {
            f"{run}/{BASE}": self._runs.evaluation.format(run=run, trained=BASE)
            for run in self._settings["runs"]
        }
        for item in self._runs.trainings():
            trained = f"{item['loss']}/seed{item['seed']}"
            evaluations[_label(item)] = self._runs.evaluation.format(run=item["run"], trained=trained)
        return {
            "selections": self._used_selections(),
            "trainings": self._metrics(),
            "evaluations": evaluations,
        }

    def figure_paths(self) -> dict[str, str]:
        """Files of the figures by name."""
        names = [
            *(["selections"] if self._used_selections() else []),
            *(["trainings", "evaluations"] if self._runs.trainings() else []),
        ]
        return {name: self.figures.format(figure=name) for name in names}

    def figure_inputs(self) -> list[str]:
        """Everything that the figures depend on."""
        return [path for tables in self.figure_settings().values() for path in tables.values()]

    def _metrics(self) -> dict[str, str]:
        return {
            _label(item): f"{self._runs.run.format(**item)}/metrics.parquet"
            for item in self._runs.trainings()
        }

    def _folder(self, template: str, corpus: str, /, **names: str) -> dict:
        path = Path(template.format(**names, shard="00000"))
        return {"folder": str(path.parent), "shards": len(self._layout.shards(corpus))}

    def _used_windowings(self) -> list[str]:
        exports = (windowing_of_export(self._settings, block) for block in self._settings["exports"].values())
        runs = (run["windowing"] for run in self._settings["runs"].values())
        return list(dict.fromkeys([*runs, *exports]))

    def _used_selections(self) -> dict[str, str]:
        blocks = [*self._settings["runs"].values(), *self._settings["exports"].values()]
        names = dict.fromkeys(block["selection"] for block in blocks if block.get("selection"))
        return {name: self._layout.selection.format(selection=name) for name in names}

    def _comparisons(self) -> dict[str, list[str]]:
        """Selections in use, each with the later ones and with the report's over the same windowing."""
        blocks, own = self._settings["selections"], list(self._used_selections())
        names = list(dict.fromkeys([*own, *self._settings["report"]["compare_selections"]]))
        return {
            f"{first}, {second}": [self._layout.selection.format(selection=name) for name in (first, second)]
            for place, first in enumerate(names)
            for second in names[place + 1 :]
            if first in own and blocks[first]["windowing"] == blocks[second]["windowing"]
        }


def _label(training: dict[str, str]) -> str:
    return f"{training['run']}/{training['loss']}/seed{training['seed']}"
