"""Evaluations: base and trained models of each run, by each task."""

from longspan.evaluation.task import EvaluationTask
from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.blocks import LossBlock, Run, Settings
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.windows import Windows

BASE = "base"
# Keys of an evaluation that are no options of its task, or that no result depends on.
_AROUND = ("task", "corpus", "devices")


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

    def tokens(self, wildcards) -> list[str]:
        """Tokens of the held-out works, for a task that measures on windows."""
        if self._task(wildcards).reads != "windows":
            return []
        return [self._windows.tokens_of(self._run(wildcards).windowing, HELD_OUT)]

    def windows(self, wildcards) -> list[str]:
        """Held-out windows, for a task that measures on them."""
        if self._task(wildcards).reads != "windows":
            return []
        return [self._windows.windows_of(self._run(wildcards).windowing, HELD_OUT)]

    def inputs(self, wildcards) -> list[str]:
        """Tables of prompts, one a length, for a task that measures on them."""
        return self.inputs_of(self._run(wildcards), wildcards.evaluation)

    def files(self, wildcards) -> list[str]:
        """Files of the user that a task reads."""
        return list(self._task(wildcards).files)

    def inputs_of(self, run: Run, name: str) -> list[str]:
        """Tables of prompts that a run's models answer in an evaluation."""
        task, windowing = self.named()[name], run.windowing
        if task.reads != "inputs":
            return []
        return [
            self._places.task_inputs.format(
                evaluation=name, tokenizer=windowing.tokenizer_name, length=length
            )
            for length in task.input_lengths(windowing.window_tokens)
        ]

    def _task(self, wildcards) -> EvaluationTask:
        return self.named()[wildcards.evaluation]

    def task(self, wildcards) -> str:
        """Name of the task."""
        return self._task(wildcards).name

    def devices(self, wildcards) -> int:
        """Devices that share the samples."""
        return getattr(self._task(wildcards), "devices", None) or 1

    def settings(self, wildcards) -> dict:
        """How a model is measured."""
        run = self._run(wildcards)
        return {
            **self._task(wildcards).as_settings(*_AROUND),
            **run.model.forward(run.train.rope_theta),
            "seed": derive_seed(self._settings.seed, "evaluate", run.windowing_name),
        }

    # Prompts that are made first

    def making_settings(self, wildcards) -> dict:
        """How the prompts of one length are made."""
        seed = derive_seed(self._settings.seed, "make_task", wildcards.evaluation)
        return self._task(wildcards).making_options(*_AROUND) | {"seed": seed}

    def documents(self, wildcards) -> list[str]:
        """Held-out works that prompts are made of, if they are."""
        if not self._task(wildcards).reads_documents:
            return []
        corpus = self._task(wildcards).corpus
        if corpus is None:
            corpus = next(
                run.windowing.corpus
                for run in self._settings.runs.values()
                if wildcards.evaluation in run.evaluations
                and run.windowing.tokenizer_name == wildcards.tokenizer
            )
        return [self._places.documents.format(corpus=corpus.key, shard=HELD_OUT)]

    def archives(self, wildcards) -> list[str]:
        """Archives that prompts are made of."""
        return [
            self._places.text_archive.format(archive=source.archive_name)
            for source in self._task(wildcards).archives
        ]

    def making_tables(self) -> dict[tuple[str, str], tuple[Run, EvaluationTask]]:
        """A run and the task of each evaluation and tokenizer whose prompts are made."""
        return {
            (name, run.windowing.tokenizer_name): (run, task)
            for run in self._settings.runs.values()
            for name, task in self.of_run(run).items()
            if task.reads == "inputs"
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
