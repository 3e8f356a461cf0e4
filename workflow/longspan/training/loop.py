"""Weighted training of a causal LM with Hugging Face's Trainer, on one process or several."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from longspan.evaluation.held_out import mean_by_context
from longspan.models.attention_kernels import attention_name, fastest_attention
from longspan.models.layers import checkpoint_layers, compile_layers, decoder_layers
from longspan.process.ranks import decided_by_first, is_first_process, process_count, settings_alone
from longspan.process.stop_signals import StopSignals
from longspan.training.checkpoints import drop_broken_checkpoints, last_whole_checkpoint, require_sharding
from longspan.training.flops import peak_flops, training_flops
from longspan.training.rows import TrainingRows
from longspan.training.trainer import TrainingStopped, WeightedTrainer
from longspan.weighting.loss import WeightedLM

__all__ = ["Execution", "TrainingLog", "TrainingStopped", "save_weights", "train"]

# Raise by hand when a change moves the weights of a trained model (tests/golden).
STAGE_VERSION = 2

_GUARDED = re.compile(r"eval_nll_(\d+)_(\d+)")


@dataclass(frozen=True)
class Execution:
    """How a training runs. None of it changes what is learnt, beyond rounding.

    Attributes:
        processes: processes in all, each with a device of its own; see :mod:`longspan.process.ranks`.
        sharding: "none" (each has all weights) or "full" (FSDP2: weights, gradients and optimizer split).
        cpu_offload: keep what is sharded in host memory.
        gradient_checkpointing: compute activations again in the backward pass.
        compile_layers: fuse each decoder layer by torch.compile.
        keep_attention: with both, keep what attention gave, in all layers or in so many, and compute only the
            rest again.
        mlp_tokens: with compile_layers, tokens that go through an MLP at a time, or None for all.
        report_to: integrations of Trainer that get its logs.
        logging_folder: where tensorboard's files go.
    """

    processes: int = 1
    sharding: str = "none"
    cpu_offload: bool = False
    gradient_checkpointing: bool = False
    compile_layers: bool = False
    keep_attention: bool | int = False
    mlp_tokens: int | None = None
    report_to: Sequence[str] = ()
    logging_folder: Path | None = None


@dataclass(frozen=True)
class TrainingLog:
    """What a training logged.

    Attributes:
        attention: what it attended by.
        device: name of its devices.
        metrics, speed, guard: rows of the tables training_metrics, training_speed and training_guard.
    """

    attention: str
    device: str
    metrics: list[dict]
    speed: list[dict]
    guard: list[dict]


@dataclass(frozen=True)
class Guard:
    """Held-out windows that are scored in the course of a training.

    Attributes:
        windows: map-style dataset of `sequence_ids` and `input_ids`, all of one length.
        eval_steps: updates between two scorings; there is one before the first.
    """

    windows: Sequence[dict]
    eval_steps: int


def collate_windows(items: list[dict]) -> dict:
    """Stack arrays into tensors; every token is a target but the first of a sequence or packed document."""
    batch = {
        name: torch.from_numpy(np.stack([item[name] for item in items]))
        for name in items[0].keys() - {"sequence_ids", "document_lengths"}
    }
    batch |= {"sequence_ids": [item["sequence_ids"] for item in items], "labels": batch["input_ids"]}
    if any("document_lengths" in item for item in items):
        tokens = batch["input_ids"].shape[1]
        lengths = [list(item.get("document_lengths", [tokens])) for item in items]
        labels = batch["labels"].clone()
        for row, ends in enumerate(np.cumsum(of_row)[:-1] for of_row in lengths):
            labels[row, ends] = -100
        batch |= {"labels": labels, "document_lengths": lengths}
        batch["packed"] = [("document_lengths" in item) for item in items]
    return batch


def train(
    model: WeightedLM,
    rows: TrainingRows,
    checkpoints: Path,
    *,
    seed: int,
    arguments: dict,
    execution: Execution | None = None,
    guard: Guard | None = None,
) -> TrainingLog:
    """Train, going on from the last checkpoint in `checkpoints` if there is one.

    Args:
        model: the model with its weighted loss, on the CPU; it is trained in place. Under sharding "full"
            only the first process's weights count, and the others' may be on the meta device.
        rows: the sequences of the whole training, in order.
        checkpoints: folder of checkpoints.
        seed: of what the model itself draws (dropout).
        arguments: settings of Hugging Face's TrainingArguments, and windows_per_update in place of
            gradient_accumulation_steps.
        execution: how it runs; None is one process, plainly.
        guard: held-out windows to score now and then, if any.

    Raises:
        ValueError: another number of processes than the execution's, windows that they cannot share out
            evenly, a checkpoint of another sharding, or a loss or gradient that is not finite, with its
            update and windows.
        TrainingStopped: SIGTERM or SIGUSR1 came; the state of the last update is saved.
        OSError: a full disk, with the last good checkpoint.
    """
    execution = execution or Execution()
    if execution.processes != process_count():
        raise ValueError(
            f"{process_count()} processes run, the execution says {execution.processes}; start as many by "
            "torchrun"
        )
    arguments = _with_accumulation(arguments, execution.processes)
    with StopSignals() as stop, settings_alone() as left_out:
        if left_out and is_first_process():
            print(f"left out of the environment, since settings decide: {', '.join(left_out)}")
        resumed = _last_checkpoint(checkpoints, execution.sharding == "full")
        if execution.sharding == "full" and not is_first_process():
            drop_weights(model)
        _prepare_layers(model, execution)
        hugging_face = _training_arguments(model, checkpoints, seed, arguments, execution, guard)
        trainer = WeightedTrainer(
            stop=stop,
            flops_of=lambda documents: training_flops(model.model, documents, model.self_scoring),
            peak_flops=peak_flops(hugging_face.device),
            model=model,
            args=hugging_face,
            train_dataset=rows,
            eval_dataset=guard and guard.windows,
            compute_metrics=_guard_metrics,
            data_collator=collate_windows,
            callbacks=_own_reports(execution),
        )
        model.train()
        attention = attention_name(
            model.config, hugging_face.device, torch.bfloat16 if arguments["bf16"] else torch.float32
        )
        device = _device_name(hugging_face.device)
        if is_first_process():
            print(f"attention: {attention} on {device}")
        with fastest_attention(hugging_face.device):
            trainer.train(resume_from_checkpoint=resumed)
    return TrainingLog(attention, device, *_tables(trainer.state.log_history))


def _with_accumulation(arguments: dict, processes: int) -> dict:
    arguments = dict(arguments)
    windows = arguments.pop("windows_per_update")
    at_once = arguments["per_device_train_batch_size"] * processes
    if windows % at_once:
        raise ValueError(
            f"{windows} windows an update cannot be shared out in batches of "
            f"{arguments['per_device_train_batch_size']} over {processes} processes; make it a multiple of "
            f"{at_once}"
        )
    return arguments | {"gradient_accumulation_steps": windows // at_once}


def _last_checkpoint(folder: Path, sharded: bool) -> str | None:
    def drop() -> bool:
        drop_broken_checkpoints(folder)
        return True

    decided_by_first(drop)
    checkpoint = last_whole_checkpoint(folder)
    if checkpoint is not None:
        require_sharding(checkpoint, sharded)
    return checkpoint


def drop_weights(model: nn.Module) -> None:
    """Give each parameter new memory of which nothing is written, so that none is taken before it is filled.

    Accelerate tells parameters apart by their addresses, so they cannot stay on the meta device.
    """
    dropped: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, old in module.named_parameters(recurse=False, remove_duplicate=False):
            empty = nn.Parameter(torch.empty_like(old, device="cpu"), old.requires_grad)
            setattr(module, name, dropped.setdefault(id(old), empty))


def _prepare_layers(model: WeightedLM, execution: Execution) -> None:
    keeps = execution.gradient_checkpointing and (execution.keep_attention or False)
    if execution.gradient_checkpointing and not keeps:
        checkpoint_layers(model.model)
    if execution.compile_layers:
        compile_layers(model.model, keep_attention=keeps, mlp_tokens=execution.mlp_tokens)


def _training_arguments(
    model: WeightedLM,
    checkpoints: Path,
    seed: int,
    arguments: dict,
    execution: Execution,
    guard: Guard | None,
) -> TrainingArguments:
    sharding = {}
    if execution.sharding == "full":
        config = {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": [type(decoder_layers(model.model)[0]).__name__],
            "reshard_after_forward": True,
            "state_dict_type": "SHARDED_STATE_DICT",
            "cpu_offload": execution.cpu_offload,
        }
        sharding = {"fsdp": True, "fsdp_config": config}
    evaluating = {}
    if guard is not None:
        evaluating = {"eval_strategy": "steps", "eval_steps": guard.eval_steps, "eval_on_start": True}
    hugging_face = TrainingArguments(
        output_dir=str(checkpoints),
        seed=seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        # Trainer checkpoints the last update in any case, so that a full disk costs no update.
        save_strategy="steps",
        save_total_limit=1,
        remove_unused_columns=False,
        disable_tqdm=True,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
        report_to=[name for name in execution.report_to if name != "tensorboard"] or "none",
        per_device_eval_batch_size=1,
        **evaluating,
        **sharding,
        **arguments,
    )
    if execution.sharding == "full" and arguments["bf16"]:
        # Master weights, sums of gradients and the batch's scores stay in float32.
        hugging_face.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    # One process uses one device, however many there are.
    if hugging_face.n_gpu > 1:
        hugging_face._n_gpu = 1
    return hugging_face


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _own_reports(execution: Execution) -> list[TrainerCallback]:
    if "tensorboard" not in execution.report_to or not is_first_process():
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(execution.logging_folder))]


def _guard_metrics(prediction) -> dict[str, float]:
    parts = mean_by_context(prediction.predictions)
    return {f"nll_{part['position_start']}_{part['position_stop']}": part["nll_mean"] for part in parts}


def _guard_rows(history: list[dict]) -> list[dict]:
    # A resumed training scores again where it goes on.
    found = {}
    for row in history:
        for name, value in row.items():
            if part := _GUARDED.fullmatch(name):
                found[row["step"], int(part[1]), int(part[2])] = value
    columns = ("step", "position_start", "position_stop", "nll_mean")
    return [dict(zip(columns, (*key, value), strict=True)) for key, value in found.items()]


def _tables(history: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    rows = [row for row in history if "loss" in row]
    # The log is part of a checkpoint, what the trainer counted is not.
    tokens_seen = itertools.accumulate(row["tokens"] for row in rows)
    metrics = [
        {
            "step": row["step"],
            "loss_weighted": row["loss"],
            "loss_unweighted": row["loss_unweighted"],
            "weight_mean": row["weight_mean"],
            "weight_std": row["weight_std"],
            "share_above_one": row["share_above_one"],
            "weight_entropy": row["weight_entropy"],
            "learning_rate": row["learning_rate"],
            "gradient_norm": row["grad_norm"],
            "tokens_seen": tokens,
        }
        for row, tokens in zip(rows, tokens_seen, strict=True)
    ]
    names = ("step", "seconds", "tokens_per_second", "mfu", "memory_bytes")
    speed = [{name: row.get(name) for name in names} for row in rows]
    return metrics, speed, _guard_rows(history)


def save_weights(model: WeightedLM, folder: Path) -> None:
    """Save the trained inner model in Hugging Face form, from all processes' shards; the first one writes."""
    seen: set[int] = set()
    weights = {}
    for name, tensor in model.model.state_dict(keep_vars=True).items():
        # A tied weight is written once, under its first name.
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_first_process():
            weights[name] = whole.detach().cpu()
    if is_first_process():
        model.model.save_pretrained(folder, state_dict=weights)
