"""Weighted training of a causal LM with Hugging Face's Trainer, and what is logged of it."""

import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from longspan.training_windows import TrainingWindows
from longspan.weighted_loss import WeightedLM

# Raise by hand when a change moves the weights of a trained model (tests/golden).
STAGE_VERSION = 1


def collate_windows(items: list[dict]) -> dict:
    """Stack arrays into tensors, ids into a list; every token but the first is a target."""
    batch = {
        name: torch.from_numpy(np.stack([item[name] for item in items]))
        for name in items[0].keys() - {"sequence_ids"}
    }
    return batch | {"sequence_ids": [item["sequence_ids"] for item in items], "labels": batch["input_ids"]}


class _WeightedTrainer(Trainer):
    """Trainer that also keeps statistics of the weights since its last log."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._reset_statistics()

    def _reset_statistics(self):
        self._count, self._nll, self._weight, self._weight_squared, self._above_one = 0, 0.0, 0.0, 0.0, 0.0
        self._tokens = 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch)
        if model.training:
            weights_BN = outputs["weights"].double()
            self._count += weights_BN.numel()
            self._nll += outputs["nll"].double().sum().item()
            self._weight += weights_BN.sum().item()
            self._weight_squared += weights_BN.square().sum().item()
            self._above_one += (weights_BN > 1).sum().item()
            self._tokens += inputs["input_ids"].numel()
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs, *args, **kwargs):
        if "loss" in logs and self._count:
            mean = self._weight / self._count
            logs = logs | {
                "loss_unweighted": self._nll / self._count,
                "weight_mean": mean,
                "weight_std": max(self._weight_squared / self._count - mean**2, 0.0) ** 0.5,
                "share_above_one": self._above_one / self._count,
                "tokens": self._tokens,
            }
            self._reset_statistics()
        super().log(logs, *args, **kwargs)


def last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; later ones, which a kill cut short, are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        try:
            # Trainer writes its state after everything else.
            json.loads((checkpoint / "trainer_state.json").read_text())
            return str(checkpoint)
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(checkpoint)
    return None


def train(
    model: WeightedLM, dataset: TrainingWindows, checkpoints: Path, *, seed: int, arguments: dict
) -> list[dict]:
    """Train, going on from the last checkpoint in `checkpoints` if there is one.

    Args:
        model: the model with its weighted loss, on the CPU; it is trained in place.
        dataset: the windows.
        checkpoints: folder of checkpoints.
        seed: of the data order.
        arguments: settings of Hugging Face's TrainingArguments.

    Returns:
        One row an update: columns of the training_metrics table.

    Raises:
        ValueError: a loss that is not finite.
    """
    trainer = _WeightedTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(checkpoints),
            seed=seed,
            data_seed=seed,
            logging_steps=1,
            logging_nan_inf_filter=False,
            # Trainer checkpoints the last update in any case, and its weights are the result anyway.
            save_strategy="steps" if arguments["save_steps"] < arguments["max_steps"] else "no",
            save_total_limit=1,
            remove_unused_columns=False,
            label_names=["labels"],
            gradient_checkpointing_kwargs={"use_reentrant": False},
            report_to="none",
            **arguments,
        ),
        train_dataset=dataset,
        data_collator=collate_windows,
    )
    model.train()
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    rows = [row for row in trainer.state.log_history if "loss" in row]
    for row in rows:
        if not math.isfinite(row["loss"]):
            raise ValueError(f"the loss of update {row['step']} is {row['loss']}; lower the learning rate")
    # The log is part of a checkpoint, what this object counted is not.
    tokens_seen = itertools.accumulate(row["tokens"] for row in rows)
    return [
        {
            "step": row["step"],
            "loss_weighted": row["loss"],
            "loss_unweighted": row["loss_unweighted"],
            "weight_mean": row["weight_mean"],
            "weight_std": row["weight_std"],
            "share_above_one": row["share_above_one"],
            "learning_rate": row["learning_rate"],
            "gradient_norm": row["grad_norm"],
            "tokens_seen": tokens,
        }
        for row, tokens in zip(rows, tokens_seen, strict=True)
    ]
