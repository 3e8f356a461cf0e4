"""What each job asks for, by settings, its model's shape and its tokens; what no device holds is refused."""

import functools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from longspan.costs.needs import (
    TEXT_STAGES,
    DecoderShape,
    Needs,
    evaluation_needs,
    requested_minutes,
    score_attention_needs,
    score_short_needs,
    training_needs,
)
from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.relations import scored_pairs, selecting_pairs, windowing_of_export
from longspan_workflow.settings.schema import SettingsError
from longspan_workflow.wiring.layout import Layout

# Before a model's folder or the tokens are there: MB of a job that loads a model, and minutes of any.
_FIRST_MEMORY_MB = 6000
_FIRST_MINUTES = {"score_short": 240, "score_attention": 240, "train": 1440}
_OTHER_FIRST_MINUTES = 120


class JobNeeds:
    """Needs of the jobs of one workflow, by names and the tokens of a whole corpus; None tokens are unknown.

    Snakemake asks for them again and again, so they cost no more than the state of a file or two.

    Args:
        layout: paths and settings.
        configs: content of config.json by model, of those that are in no folder yet.
    """

    def __init__(self, layout: Layout, configs: dict[str, dict] | None = None):
        self._layout = layout
        self._settings = layout.settings
        self._configs = configs or {}
        self._device_flops = self._settings["device"]["tflops"] * 1e12

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
        layout = self._layout
        windowing = getattr(wildcards, "windowing", None)
        match rule:
            case "tokenize_documents":
                size = _bytes_of(layout.documents.format(corpus=wildcards.corpus, shard=wildcards.shard))
                return TEXT_STAGES[rule].needs(_tokens_in(size, "read_documents"))
            case "assign_windows":
                return TEXT_STAGES[rule].needs(self.tokens_of_shard(windowing, wildcards.shard))
            case "score_short" | "score_attention":
                return self.scoring(windowing, wildcards.scorer, self._tokens(windowing, wildcards.shard))
            case "collect_weights":
                return self.collection(windowing, wildcards.scorer, self._tokens(windowing))
            case "select_windows":
                windowing = layout.selection_windowing(wildcards)
                return self.selection(wildcards.selection, self._tokens(windowing))
            case "export_windows":
                windowing = windowing_of_export(self._settings, self._settings["exports"][wildcards.export])
                return self.export(wildcards.export, self._tokens(windowing, wildcards.shard))
            case "train":
                return self.training(wildcards.run, wildcards.loss)
            case "evaluate":
                tokens = self.tokens_of_shard(self._settings["runs"][wildcards.run]["windowing"], HELD_OUT)
                return self.evaluation(wildcards.run, tokens)
        return TEXT_STAGES[rule].needs(None)

    def tokens_of_shard(self, windowing: str, shard: str) -> float | None:
        """Tokens of a shard, by the size of their table; None before it is there."""
        return _tokens_in(_bytes_of(self._layout.tokens_of(windowing, shard)), "tokenize_documents")

    def _tokens(self, windowing: str, shard: str = "00000") -> float | None:
        """Tokens of a windowing's corpus, if all shards are like this one."""
        tokens = self.tokens_of_shard(windowing, shard)
        return None if tokens is None else tokens * self._shards(windowing)

    def _shards(self, windowing: str) -> int:
        return self._settings["corpora"][self._settings["windowings"][windowing]["corpus"]]["shards"]

    # Numbers of windows, at most

    def windows(self, windowing: str, tokens: float | None) -> float | None:
        """Windows of a windowing."""
        block = self._settings["windowings"][windowing]
        corpus = self._settings["corpora"][block["corpus"]]
        step = block.get("stride_tokens") or block["window_tokens"]
        found = None if tokens is None else tokens / step * block["sampling"].get("fraction", 1)
        if drawn := block["sampling"].get("windows_per_category"):
            categories = {source["category"] for source in corpus["sources"]}
            return _least(found, drawn * len(categories) * corpus["shards"])
        return found

    def kept(self, selection: str, tokens: float | None) -> float | None:
        """Windows that a selection keeps."""
        block = self._settings["selections"][selection]
        window_tokens = self._settings["windowings"][block["windowing"]]["window_tokens"]
        windows = self.windows(block["windowing"], tokens)
        if rules := block["keep"].get("per_category"):
            # How many windows a category has is not known; they are taken for equal.
            share = None if windows is None else windows / len(rules)
            parts = [_kept_by(rule, share, window_tokens) for rule in rules.values()]
            return None if None in parts else sum(parts)
        return _kept_by(block["keep"], windows, window_tokens)

    def scored(self, windowing: str, scorer: str, tokens: float | None) -> float | None:
        """Windows that a store holds scores of."""
        windows = self.windows(windowing, tokens)
        parts = scored_pairs(self._settings).get((windowing, scorer), [None])
        if (windowing, scorer) in selecting_pairs(self._settings) or None in parts:
            return windows
        kept = [self.kept(name, tokens) for name in parts]
        return windows if None in kept else _least(windows, sum(kept))

    # Jobs

    def scoring(self, windowing: str, scorer: str, tokens: float | None) -> Needs | None:
        """A shard's scores; None if the model's shape is not known.

        Raises:
            SettingsError: they need more memory than a device has.
        """
        block = self._settings["scorers"][scorer]
        model = self._settings["models"][block["model"]]
        shape = self.shape(block["model"])
        if shape is None:
            return None
        windows = self.scored(windowing, scorer, tokens)
        shard = None if windows is None else windows / self._shards(windowing)
        common = {
            "window_tokens": self._settings["windowings"][windowing]["window_tokens"],
            "dtype": model["dtype"],
            "device_flops": self._device_flops,
        }
        if block["kind"] == "attention":
            needs = score_attention_needs(shape, shard, **common)
            less = "shorten its windows, or take dtype bfloat16 or a smaller model"
        else:
            keys = ("base_length", "base_stride", "windows_per_batch", "store_long")
            geometry = {key: block[key] for key in keys}
            needs = score_short_needs(
                shape, shard, **geometry, **common, compile_layers=model["compile_layers"]
            )
            less = "lower windows_per_batch, or take dtype bfloat16 or a smaller model"
        return self._fitting(needs, f"scorers.{scorer} (over windowing '{windowing}')", less)

    def collection(self, windowing: str, scorer: str, tokens: float | None) -> Needs:
        """The index of a store."""
        return TEXT_STAGES["collect_weights"].needs(0, self.scored(windowing, scorer, tokens))

    def selection(self, selection: str, tokens: float | None) -> Needs:
        """A selection."""
        windowing = self._settings["selections"][selection]["windowing"]
        return TEXT_STAGES["select_windows"].needs(0, self.windows(windowing, tokens))

    def exported(self, export: str, tokens: float | None) -> float | None:
        """Tokens that an export holds."""
        block = self._settings["exports"][export]
        windowing = windowing_of_export(self._settings, block)
        selection = block.get("selection")
        windows = self.kept(selection, tokens) if selection else self.windows(windowing, tokens)
        return None if windows is None else windows * self._settings["windowings"][windowing]["window_tokens"]

    def export(self, export: str, tokens: float | None) -> Needs:
        """A shard of an export."""
        windowing = windowing_of_export(self._settings, self._settings["exports"][export])
        held = self.exported(export, tokens)
        if held is None:
            return TEXT_STAGES["export_windows"].needs(None)
        return TEXT_STAGES["export_windows"].needs(held / self._shards(windowing))

    def training(self, run: str, loss: str) -> Needs | None:
        """A training; None if the model's shape is not known.

        Raises:
            SettingsError: it needs more memory than a device has.
        """
        block = self._settings["runs"][run]
        shape = self.shape(block["model"])
        if shape is None:
            return None
        needs = training_needs(
            shape,
            window_tokens=self._settings["windowings"][block["windowing"]]["window_tokens"],
            self_scoring=self._settings["losses"][loss].get("self_scoring"),
            train=block["train"],
            device_flops=self._device_flops,
        )
        return self._fitting(needs, f"runs.{run}.train", _less_training(block["train"]))

    def evaluation(self, run: str, held_out_tokens: float | None) -> Needs | None:
        """An evaluation; None if the model's shape is not known.

        Raises:
            SettingsError: it needs more memory than a device has.
        """
        block = self._settings["runs"][run]
        model = self._settings["models"][block["model"]]
        shape = self.shape(block["model"])
        if shape is None:
            return None
        window_tokens = self._settings["windowings"][block["windowing"]]["window_tokens"]
        needs = evaluation_needs(
            shape,
            self.evaluated(run, held_out_tokens),
            window_tokens=window_tokens,
            dtype=model["dtype"],
            compile_layers=model["compile_layers"],
            device_flops=self._device_flops,
        )
        return self._fitting(needs, f"runs.{run} (its evaluation)", "take dtype bfloat16 or a smaller model")

    def evaluated(self, run: str, held_out_tokens: float | None) -> float | None:
        """Held-out windows that an evaluation of a run scores."""
        block = self._settings["windowings"][self._settings["runs"][run]["windowing"]]
        windows = None
        if held_out_tokens is not None:
            windows = held_out_tokens / (block.get("stride_tokens") or block["window_tokens"])
        sources = self._settings["corpora"][block["corpus"]]["sources"]
        each = self._settings["evaluation"]["windows_per_document"]
        if each is None or any(source["hold_out"] is True for source in sources):
            return windows
        return _least(windows, each * sum(len(source["hold_out"]) for source in sources))

    # Models and devices

    def config_path(self, model: str) -> str | None:
        """A model's config.json: in the folder that was made, or in the local folder that it comes from."""
        source = self._settings["models"][model]["source"]
        folders = [os.path.dirname(self._layout.model_of(model))]
        folders += [source["path"]] if source["kind"] == "folder" else []
        paths = (os.path.join(folder, "config.json") for folder in folders)
        return next(filter(os.path.isfile, paths), None)

    def shape(self, model: str) -> DecoderShape | None:
        """A model's shape, if its config.json is here and names one."""
        if model in self._configs:
            return _shape_of(self._configs[model])
        path = self.config_path(model)
        return None if path is None else _read_shape(path, os.stat(path).st_mtime_ns)

    def _fitting(self, needs: Needs, where: str, less: str) -> Needs:
        there = self._settings["device"]["memory_gb"]
        if there is not None and needs.device_bytes > there * 1e9:
            raise SettingsError(
                f"{where}: needs about {needs.device_bytes / 1e9:.1f} GB of each device, and "
                f"device.memory_gb is {there:g}; {less}"
            )
        return needs


def _less_training(train: dict) -> str:
    ways = {
        "gradient_checkpointing: true": not train["gradient_checkpointing"],
        "bf16: true": not train["bf16"],
        "keep_attention: false": train["keep_attention"],
        "mlp_tokens": train["compile_layers"] and train["mlp_tokens"] is None,
        "a smaller per_device_train_batch_size": train["per_device_train_batch_size"] > 1,
        "sharding: full": train["sharding"] == "none",
        "cpu_offload: true": not train["cpu_offload"],
        "more devices": True,
        "shorter windows": True,
    }
    return f"less is needed with {', '.join(way for way, is_open in ways.items() if is_open)}"


def _kept_by(rule: dict, windows: float | None, window_tokens: int) -> float | None:
    if "ratio" in rule:
        return None if windows is None else windows * rule["ratio"]
    return _least(windows, rule["windows"] if "windows" in rule else rule["tokens"] / window_tokens)


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
