"""Evaluations: base and trained models of each run, by each task."""

from longspan.evaluation.task import EvaluationTask
from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.blocks import LossBlock, Run, Settings
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.windows import Windows

BASE = "base"


class Evaluations:
    """Inputs and parameters of rules/evaluations.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
    """

    def __init__(self, settings: Settings, places: Places, windows: Windows):
        self._settings, self._places, self._windows = settings, places, windows
        self._used = Used(settings)

    def _run(self, wildcards) -> Run:
        return self._settings.runs[wildcards.run]

    def named(self) -> dict[str, EvaluationTask]:
        """All evaluations by name: the one that every run has, and those that runs name."""
        return {self._settings.evaluation.name: self._settings.evaluation} | self._settings.evaluations

    def of_run(self, run: Run) -> dict[str, EvaluationTask]:
        """Evaluations of a run by name."""
        named = self.named()
        return {name: named[name] for name in (self._settings.evaluation.name, *run.evaluations)}

    def model(self, wildcards) -> str:
        """What an evaluation measures: the run's base model, or a trained one."""
        if wildcards.trained == BASE:
            return self._places.model.format(model=self._run(wildcards).model_name)
        return f"{self._places.results}/runs/{wildcards.run}/{wildcards.trained}/model/longspan.json"

    def tokens(self, wildcards) -> str:
        """Tokens of the held-out works."""
        return self._windows.tokens_of(self._run(wildcards).windowing, HELD_OUT)

    def windows(self, wildcards) -> str:
        """Held-out windows."""
        return self._windows.windows_of(self._run(wildcards).windowing, HELD_OUT)

    def task(self, wildcards) -> str:
        """Name of the task."""
        return self.named()[wildcards.evaluation].name

    def settings(self, wildcards) -> dict:
        """How a model is measured."""
        run = self._run(wildcards)
        return {
            **self.named()[wildcards.evaluation].as_settings("task"),
            **run.model.forward(run.train.rope_theta),
            "seed": derive_seed(self._settings.seed, "evaluate", run.windowing_name),
        }

    # What an evaluator makes once, for all models

    def prepared(self, wildcards) -> list[str]:
        """The table that an evaluator made for an evaluation, if its task has one."""
        if self.named()[wildcards.evaluation].prepared_table is None:
            return []
        names = {"evaluation": wildcards.evaluation, "windowing": self._run(wildcards).windowing_name}
        return [self._places.prepared_task.format(**names)]

    def prepared_arguments(self, wildcards, input) -> list[str]:
        """That table, for the command line."""
        return [argument for path in input.prepared for argument in ("--prepared", path)]

    def evaluator(self, wildcards) -> str:
        """Manifest of an evaluation's evaluator."""
        evaluator = self._settings.evaluations[wildcards.evaluation].evaluator
        return self._places.model.format(model=evaluator.key)

    def preparation_tables(self, wildcards) -> dict[str, str]:
        """Held-out windows with their tokens and documents."""
        windowing = self._settings.windowings[wildcards.windowing]
        documents = self._places.documents.format(corpus=windowing.corpus_name, shard=HELD_OUT)
        return {
            "tokens": self._windows.tokens_of(windowing, HELD_OUT),
            "windows": self._windows.windows_of(windowing, HELD_OUT),
            "documents": documents,
        }

    def preparation_settings(self, wildcards) -> dict:
        """How an evaluator makes its table."""
        evaluation = self._settings.evaluations[wildcards.evaluation]
        return {
            **evaluation.as_settings("task"),
            **evaluation.evaluator.forward(None),
            "seed": derive_seed(self._settings.seed, "evaluate", wildcards.windowing),
        }

    def path(self, run: Run, trained: str, name: str) -> str:
        """Table of an evaluation; the base model of a control is that of its run."""
        if trained == BASE and run.control_of is not None:
            run = run.control_of
        return self._places.evaluation.format(run=run.key, trained=trained, evaluation=name)

    def trained(self, run: Run) -> list[str]:
        """Names of a run's trained models."""
        return [f"{loss.key}/seed{seed}" for owner, loss, seed in self._used.trainings if owner is run]

    def short_context(self, run: Run, loss: LossBlock) -> int | None:
        """Tokens of the short context that a training's loss or selection goes by; None where neither does.

        Where they go by none, it is what the model was made for, if a window is longer.
        """
        scorers = [loss.self_scoring, loss.scorer, None if run.selection is None else run.selection.scorer]
        for scorer in scorers:
            if (tokens := getattr(scorer, "base_length", None)) is not None:
                return tokens
        made_for = run.model.max_position_embeddings
        return made_for if made_for < run.windowing.window_tokens else None

    def measured(self, run: Run) -> list[str]:
        """Names of the models that are measured for a run: its trained ones, and before them its base."""
        return [*([BASE] if run.control_of is None else []), *self.trained(run)]

    def all(self) -> list[str]:
        """Every evaluation: base and trained models of each run."""
        return [
            self.path(run, trained, name)
            for run in self._settings.runs.values()
            for name in self.of_run(run)
            for trained in self.measured(run)
        ]
