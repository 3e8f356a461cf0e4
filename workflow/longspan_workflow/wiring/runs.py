"""Trainings: what each learns from, and how it runs."""

from pathlib import Path

from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.blocks import LossBlock, Run, Settings
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.exports import citations_of
from longspan_workflow.wiring.places import Places, as_json
from longspan_workflow.wiring.scores import Scores
from longspan_workflow.wiring.windows import Windows

# Settings of a training that say how it runs, not what it learns.
EXECUTION_KEYS = (
    "sharding",
    "cpu_offload",
    "gradient_checkpointing",
    "compile_layers",
    "keep_attention",
    "mlp_tokens",
    "report_to",
)
_ELSEWHERE = (
    "rope_theta",
    "context_parallel_size",
    "eval_steps",
    "gradient_accumulation_steps",
    "devices",
    "nodes",
    *EXECUTION_KEYS,
)


class Runs:
    """Inputs and parameters of rules/runs.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
        scores: tables of stores.
    """

    def __init__(self, settings: Settings, places: Places, windows: Windows, scores: Scores):
        self._settings, self._places, self._windows, self._scores = settings, places, windows, scores
        self._used = Used(settings)

    def _of(self, wildcards) -> Run:
        return self._settings.runs[wildcards.run]

    def _loss(self, wildcards) -> LossBlock:
        return self._settings.losses[wildcards.loss]

    def trainings(self) -> list[dict[str, str]]:
        """Run, loss and seed of every training."""
        return [
            {"run": run.key, "loss": loss.key, "seed": str(seed)} for run, loss, seed in self._used.trainings
        ]

    # What is learnt

    def settings(self, wildcards) -> dict:
        """Loss and training settings of a run, and the seed of its data order."""
        run = self._of(wildcards)
        train = run.train.as_settings(*_ELSEWHERE) | {"windows_per_update": run.train.windows_per_update}
        forward = run.model.forward(run.train.rope_theta)
        mixture = {} if run.mixture is None else {"mixture": run.mixture.as_settings()["short"]}
        return {
            **mixture,
            "loss": self._loss(wildcards).as_settings("scorer"),
            "train": train,
            "attention": forward["attention"],
            "rope_theta": forward["rope_theta"],
            "seed": derive_seed(self._settings.seed, "train", f"{run.order_key}/{wildcards.seed}"),
        }

    def model(self, wildcards) -> str:
        """Manifest of the model that a run trains."""
        return self._places.model.format(model=self._of(wildcards).model_name)

    def tokens(self, wildcards) -> list[str]:
        """Tokens of a run's windows."""
        return self._windows.all_tokens(self._of(wildcards).windowing)

    def windows(self, wildcards) -> list[str]:
        """Windows of a run."""
        return self._windows.all_windows(self._of(wildcards).windowing)

    def kept(self, wildcards) -> list[str]:
        """Kept windows of a run's selection, if it has one."""
        name = self._of(wildcards).selection_name
        return [] if name is None else [self._places.kept.format(selection=name)]

    def scores(self, wildcards) -> dict[str, list[str]]:
        """Index and scores of a run's frozen NLL store, if its loss uses one."""
        scorer = self._loss(wildcards).scorer
        if scorer is None:
            return {"index": [], "scores": []}
        windowing = self._of(wildcards).windowing
        return {
            "index": [self._scores.index(windowing, scorer)],
            "scores": self._scores.of_all_shards(windowing, scorer),
        }

    def shard_count(self, wildcards) -> int:
        """Number of shards of a run's windows."""
        return self._of(wildcards).windowing.corpus.shards

    # Short documents

    def _short_tokens(self, wildcards) -> dict[str, list[str]]:
        """Tables of tokens of the short documents of a run's mixture, by corpus."""
        run = self._of(wildcards)
        if run.mixture is None:
            return {}
        tokenizer = run.windowing.tokenizer_name
        return {
            corpus.key: [
                self._places.tokens.format(corpus=corpus.key, tokenizer=tokenizer, shard=shard)
                for shard in corpus.shard_names
            ]
            for corpus in run.mixture.corpora
        }

    def short_tokens(self, wildcards) -> list[str]:
        """All of these tables."""
        return [path for tables in self._short_tokens(wildcards).values() for path in tables]

    def short_arguments(self, wildcards) -> list[str]:
        """Folder and number of shards of each, for the training's command line."""
        return [
            argument
            for corpus, tables in self._short_tokens(wildcards).items()
            for argument in (
                "--short",
                corpus,
                str(Path(self._places.here(tables[0])).parent),
                str(len(tables)),
            )
        ]

    # Held-out windows in its course

    def _guard(self, wildcards) -> dict | None:
        run = self._of(wildcards)
        if run.train.eval_steps is None:
            return None
        return {
            "eval_steps": run.train.eval_steps,
            "windows_per_document": self._settings.evaluation.windows_per_document,
            "seed": derive_seed(self._settings.seed, "evaluate", run.windowing_name),
        }

    def held_out(self, wildcards) -> dict[str, list[str]]:
        """Tables of held-out windows that a run scores in its course, if any."""
        if self._guard(wildcards) is None:
            return {"held_out_tokens": [], "held_out_windows": []}
        windowing = self._of(wildcards).windowing
        return {
            "held_out_tokens": [self._windows.tokens_of(windowing, HELD_OUT)],
            "held_out_windows": [self._windows.windows_of(windowing, HELD_OUT)],
        }

    def guard_arguments(self, wildcards, input) -> list[str]:
        """How they are scored, for the training's command line."""
        guard = self._guard(wildcards)
        if guard is None:
            return []
        return [
            *("--guard", as_json(guard)),
            *("--held-out-tokens", *input.held_out_tokens),
            *("--held-out-windows", *input.held_out_windows),
        ]

    # How it runs

    def devices(self, wildcards) -> int:
        """Devices of each node that a run trains on."""
        return self._of(wildcards).train.devices

    def nodes(self, wildcards) -> int:
        """Nodes that a run trains on."""
        return self._of(wildcards).train.nodes

    def execution(self, wildcards) -> dict:
        """How a run's training is executed, which changes what it learns by rounding at most."""
        train = self._of(wildcards).train
        return {key: getattr(train, key) for key in EXECUTION_KEYS} | {"processes": train.processes}

    def card(self, wildcards) -> dict:
        """Arguments of `longspan.exports.model_card.model_card` that the settings give."""
        run, loss = self._of(wildcards), self._loss(wildcards)
        corpora = [run.windowing.corpus, *(run.mixture.corpora if run.mixture is not None else [])]
        scorers = [block.scorer for block in (loss, run.selection) if block is not None and block.scorer]
        return {
            "title": f"{run.key}/{loss.key}/seed{wildcards.seed}",
            "base": {
                "name": run.model_name,
                "source": run.model.source.origin,
                "license": run.model.license,
            },
            "sources": [
                {"source": source.origin, "category": source.category, "license": source.license}
                for corpus in {corpus.key: corpus for corpus in corpora}.values()
                for source in corpus.sources
            ],
            "citations": citations_of(loss, run.selection, *scorers),
        }
