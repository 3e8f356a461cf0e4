"""What each job asks for, by settings, its model's shape and its tokens; what no device holds is refused."""

import functools
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from longspan.costs.needs import TEXT_STAGES, Needs, requested_minutes
from longspan.costs.shape import DecoderShape
from longspan.evaluation.task import EvaluationTask
from longspan.scoring.kind import SCORER_KINDS
from longspan.store.shards import HELD_OUT
from longspan.training.needs import training_needs
from longspan_workflow.settings.blocks import (
    EvaluationBlock,
    Export,
    KeepRule,
    LossBlock,
    Model,
    Run,
    ScorerBlock,
    SelectionBlock,
    Train,
    WindowingBlock,
)
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.wiring import Wiring

# Before a model's folder or the tokens are there: MB of a job that loads a model, and minutes of any.
_FIRST_MEMORY_MB = 6000
_FIRST_MINUTES = {"train": 1440} | {kind.rule: 240 for kind in SCORER_KINDS}
_OTHER_FIRST_MINUTES = 120


class JobNeeds:
    """Needs of the jobs of one workflow, by names and the tokens of a whole corpus; None tokens are unknown.

    Snakemake asks for them again and again, so they cost no more than the state of a file or two.

    Args:
        wiring: settings and paths.
        configs: content of config.json by model, of those that are in no folder yet.
        refuses: whether what no device can hold is an error.
    """

    def __init__(self, wiring: Wiring, configs: dict[str, dict] | None = None, *, refuses: bool = True):
        self._wiring = wiring
        self._settings = wiring.settings
        self._used = Used(wiring.settings)
        self._configs = configs or {}
        self._refuses = refuses
        self._device_flops = self._settings.device.tflops * 1e12

    # What the rules ask for

    def memory_mb(self, rule: str) -> Callable[..., int]:
        """Function of a rule's wildcards and attempt: memory of a node (MB), more on each attempt."""

        def request(wildcards, attempt: int) -> int:
            needs = self._of_job(rule, wildcards)
            return attempt * (math.ceil(needs.host_bytes / 1e6) if needs else _FIRST_MEMORY_MB)

        return request

    def minutes(self, rule: str) -> Callable[..., int]:
        """Function of a rule's wildcards and attempt: limit of its time (minutes), more on each attempt."""

        def request(wildcards, attempt: int) -> int:
            needs = self._of_job(rule, wildcards)
            if needs is None or needs.seconds is None:
                return attempt * _FIRST_MINUTES.get(rule, _OTHER_FIRST_MINUTES)
            return attempt * requested_minutes(needs.seconds)

        return request

    def _of_job(self, rule: str, wildcards) -> Needs | None:
        settings, places = self._settings, self._wiring.places
        match rule:
            case "tokenize_documents":
                path = places.here(places.documents.format(corpus=wildcards.corpus, shard=wildcards.shard))
                return TEXT_STAGES[rule].needs(_tokens_in(_bytes_of(path), "read_documents"))
            case "assign_windows" | "aggregate_shard":
                windowing = settings.windowings[wildcards.windowing]
                return TEXT_STAGES[rule].needs(self.tokens_of_shard(windowing, wildcards.shard))
            case "collect_weights":
                windowing = settings.windowings[wildcards.windowing]
                return self.collection(windowing, settings.scorers[wildcards.scorer], self._tokens(windowing))
            case "select_windows":
                selection = settings.selections[wildcards.selection]
                return self.selection(selection, self._tokens(selection.windowing))
            case "export_windows":
                export = settings.exports[wildcards.export]
                return self.export(export, self._tokens(export.windowing, wildcards.shard))
            case "train":
                return self.training(settings.runs[wildcards.run], settings.losses[wildcards.loss])
            case "prepare_task":
                windowing = settings.windowings[wildcards.windowing]
                evaluation = settings.evaluations[wildcards.evaluation]
                return self.preparation(evaluation, windowing, self.tokens_of_shard(windowing, HELD_OUT))
            case "evaluate":
                run = settings.runs[wildcards.run]
                task = self._wiring.evaluations.named()[wildcards.evaluation]
                return self.evaluation(run, task, self.tokens_of_shard(run.windowing, HELD_OUT))
        if rule in TEXT_STAGES:
            return TEXT_STAGES[rule].needs(None)
        windowing = settings.windowings[wildcards.windowing]
        return self.scoring(
            windowing, settings.scorers[wildcards.scorer], self._tokens(windowing, wildcards.shard)
        )

    def tokens_of_shard(self, windowing: WindowingBlock, shard: str) -> float | None:
        """Tokens of a shard, by the size of their table; None before it is there."""
        path = self._wiring.places.here(self._wiring.windows.tokens_of(windowing, shard))
        return _tokens_in(_bytes_of(path), "tokenize_documents")

    def _tokens(self, windowing: WindowingBlock, shard: str = "00000") -> float | None:
        """Tokens of a windowing's corpus, if all shards are like this one."""
        tokens = self.tokens_of_shard(windowing, shard)
        return None if tokens is None else tokens * windowing.corpus.shards

    # Numbers of windows, at most

    def windows(self, windowing: WindowingBlock, tokens: float | None) -> float | None:
        """Windows of a windowing."""
        sampling = windowing.sampling
        found = None if tokens is None else tokens / _step(windowing)
        if found is not None and sampling.fraction is not None:
            found *= sampling.fraction
        if (drawn := sampling.windows_per_category) is not None:
            return _least(found, drawn * len(windowing.corpus.categories) * windowing.corpus.shards)
        return found

    def kept(self, selection: SelectionBlock, tokens: float | None) -> float | None:
        """Windows that a selection keeps."""
        window_tokens = selection.windowing.window_tokens
        windows = self.windows(selection.windowing, tokens)
        if rules := selection.keep.per_category:
            # How many windows a category has is not known; they are taken for equal.
            share = None if windows is None else windows / len(rules)
            parts = [_kept_by(rule, share, window_tokens) for rule in rules.values()]
            return None if None in parts else sum(parts)
        return _kept_by(selection.keep, windows, window_tokens)

    def scored(self, windowing: WindowingBlock, scorer: ScorerBlock, tokens: float | None) -> float | None:
        """Windows that a store holds scores of."""
        store = (windowing.key, scorer.key)
        windows = self.windows(windowing, tokens)
        parts = self._used.frozen_stores.get(store, [None])
        if store in self._used.selecting_stores or None in parts:
            return windows
        kept = [self.kept(self._settings.selections[name], tokens) for name in parts]
        return windows if None in kept else _least(windows, sum(kept))

    # Jobs

    def scoring(self, windowing: WindowingBlock, scorer: ScorerBlock, tokens: float | None) -> Needs | None:
        """A shard's scores; None if the model's shape is not known.

        Raises:
            SettingsError: they need more memory than a device has.
        """
        shape = self.shape(scorer.model)
        if shape is None:
            return None
        windows = self.scored(windowing, scorer, tokens)
        needs = scorer.needs(
            shape,
            None if windows is None else windows / windowing.corpus.shards,
            window_tokens=windowing.window_tokens,
            dtype=scorer.model.dtype,
            compile_layers=scorer.model.compile_layers,
            device_flops=self._device_flops,
        )
        where = f"scorers.{scorer.key} (over windowing '{windowing.key}')"
        return self._fitting(needs, where, scorer.less_memory)

    def collection(self, windowing: WindowingBlock, scorer: ScorerBlock, tokens: float | None) -> Needs:
        """The index of a store."""
        return TEXT_STAGES["collect_weights"].needs(0, self.scored(windowing, scorer, tokens))

    def selection(self, selection: SelectionBlock, tokens: float | None) -> Needs:
        """A selection; how long a window takes is the method's to say."""
        windows = self.windows(selection.windowing, tokens)
        needs = TEXT_STAGES["select_windows"].needs(0, windows)
        return replace(needs, seconds=None if windows is None else windows * selection.window_seconds)

    def exported(self, export: Export, tokens: float | None) -> float | None:
        """Tokens that an export holds."""
        windowing, selection = export.windowing, export.selection
        windows = self.windows(windowing, tokens) if selection is None else self.kept(selection, tokens)
        return None if windows is None else windows * windowing.window_tokens

    def export(self, export: Export, tokens: float | None) -> Needs:
        """A shard of an export."""
        held = self.exported(export, tokens)
        return TEXT_STAGES["export_windows"].needs(
            None if held is None else held / export.windowing.corpus.shards
        )

    def training(self, run: Run, loss: LossBlock) -> Needs | None:
        """A training; None if the model's shape is not known.

        Raises:
            SettingsError: it needs more memory than a device has.
        """
        shape = self.shape(run.model)
        if shape is None:
            return None
        needs = training_needs(
            shape,
            window_tokens=run.windowing.window_tokens,
            self_scoring=None if loss.self_scoring is None else loss.self_scoring.as_settings(),
            train=run.train.as_settings(),
            device_flops=self._device_flops,
        )
        return self._fitting(needs, f"runs.{run.key}.train", _less_training(run.train))

    def evaluation(self, run: Run, task: EvaluationTask, held_out_tokens: float | None) -> Needs | None:
        """An evaluation; None if the model's shape is not known.

        Raises:
            SettingsError: it needs more memory than a device has.
        """
        shape = self.shape(run.model)
        if shape is None:
            return None
        needs = task.needs(
            shape,
            self.evaluated(run, task, held_out_tokens),
            window_tokens=run.windowing.window_tokens,
            dtype=run.model.dtype,
            compile_layers=run.model.compile_layers,
            device_flops=self._device_flops,
        )
        return self._fitting(
            needs, f"runs.{run.key} (its evaluation)", "take dtype bfloat16 or a smaller model"
        )

    def preparation(
        self, evaluation: EvaluationBlock, windowing: WindowingBlock, held_out_tokens: float | None
    ) -> Needs | None:
        """What an evaluator makes of the held-out windows; None if the model's shape is not known.

        Raises:
            SettingsError: it needs more memory than a device has.
        """
        evaluator = evaluation.evaluator
        if (shape := self.shape(evaluator)) is None:
            return None
        windows = None if held_out_tokens is None else held_out_tokens / _step(windowing)
        needs = evaluation.preparation_needs(
            shape,
            evaluation.windows_measured(windows, windowing.corpus.held_out_works),
            window_tokens=windowing.window_tokens,
            dtype=evaluator.dtype,
            compile_layers=evaluator.compile_layers,
            device_flops=self._device_flops,
        )
        where = f"evaluations.{evaluation.key} (its evaluator)"
        return self._fitting(needs, where, "take dtype bfloat16 or a smaller evaluator")

    def evaluated(self, run: Run, task: EvaluationTask, held_out_tokens: float | None) -> float | None:
        """Held-out windows that an evaluation of a run measures on."""
        windows = None if held_out_tokens is None else held_out_tokens / _step(run.windowing)
        return task.windows_measured(windows, run.windowing.corpus.held_out_works)

    # Models and devices

    def config_path(self, model: Model) -> str | None:
        """A model's config.json: in the folder that was made, or in the local folder that it comes from."""
        folders = [os.path.dirname(self._wiring.places.here(self._wiring.models.path(model)))]
        folders += [model.source.path] if model.source.kind == "folder" else []
        paths = (os.path.join(folder, "config.json") for folder in folders)
        return next(filter(os.path.isfile, paths), None)

    def shape(self, model: Model) -> DecoderShape | None:
        """A model's shape, if its config.json is here and names one."""
        if model.key in self._configs:
            return _shape_of(self._configs[model.key])
        path = self.config_path(model)
        return None if path is None else _read_shape(path, os.stat(path).st_mtime_ns)

    def _fitting(self, needs: Needs, where: str, less: str) -> Needs:
        there = self._settings.device.memory_gb
        if self._refuses and there is not None and needs.device_bytes > there * 1e9:
            raise SettingsError(
                f"{where}: needs about {needs.device_bytes / 1e9:.1f} GB of each device, and "
                f"device.memory_gb is {there:g}; {less}"
            )
        return needs


def _step(windowing: WindowingBlock) -> int:
    return getattr(windowing, "stride_tokens", None) or windowing.window_tokens


def _less_training(train: Train) -> str:
    ways = {
        "gradient_checkpointing: true": not train.gradient_checkpointing,
        "bf16: true": not train.bf16,
        "keep_attention: false": train.keep_attention,
        "mlp_tokens": train.compile_layers and train.mlp_tokens is None,
        "a smaller per_device_train_batch_size": train.per_device_train_batch_size > 1,
        "sharding: full": train.sharding == "none",
        "cpu_offload: true": not train.cpu_offload,
        "more devices": True,
        "shorter windows": True,
    }
    return f"less is needed with {', '.join(way for way, is_open in ways.items() if is_open)}"


def _kept_by(rule: KeepRule, windows: float | None, window_tokens: int) -> float | None:
    if rule.ratio is not None:
        return None if windows is None else windows * rule.ratio
    return _least(windows, rule.windows if rule.windows is not None else rule.tokens / window_tokens)


def _least(known: float | None, bound: float) -> float:
    return bound if known is None else min(known, bound)


def _bytes_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _tokens_in(size: int | None, stage: str) -> float | None:
    """Tokens of a table of texts or tokens, by its size."""
    return None if size is None else size / TEXT_STAGES[stage].token_bytes


def _shape_of(config: dict) -> DecoderShape | None:
    try:
        return DecoderShape.of(config)
    except ValueError:
        return None


@functools.lru_cache(maxsize=64)
def _read_shape(path: str, changed: int) -> DecoderShape | None:
    return _shape_of(json.loads(Path(path).read_text()))
