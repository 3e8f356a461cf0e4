"""One of several gloo processes that train a tiny model; torchrun starts it. The first stores what came out.

torchrun --standalone --nproc-per-node 2 tests/unit/training_processes.py FOLDER CASE…
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from longspan.models.document_attention import NAME
from longspan.process.ranks import join_processes, process_count
from longspan.scoring.self_scoring import SelfScoring
from longspan.training.loop import Execution, Guard, TrainingStopped, save_weights, train
from longspan.training.rows import TrainingRows
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from tiny_models import VOCABULARY, tiny_model

ARGUMENTS = {
    "max_steps": 4,
    "per_device_train_batch_size": 1,
    "windows_per_update": 4,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "linear",
    "warmup_steps": 1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "bf16": False,
    "save_steps": 3,
}


class Windows:
    """Seven random windows; some reading can be made to do something."""

    data_ids = tuple(f"x-00000_{index:07d}" for index in range(7))

    def __init__(self, at=None, do=None):
        self.reads, self.at, self.do = 0, at, do

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == self.at:
            self.do()
        draw = np.random.default_rng(index)
        return {
            "sequence_ids": self.data_ids[index],
            "input_ids": draw.integers(0, VOCABULARY, 24),
            "short_nll": draw.uniform(1, 6, 23).astype(np.float32),
        }


class Packed(Windows):
    """Five sequences of three documents each."""

    data_ids = tuple(f"web-packed_{index:07d}" for index in range(5))

    def __getitem__(self, index):
        item = super().__getitem__(index)
        short = {"document_lengths": [7, 5 + index, 12 - index], "short_nll": 0 * item["short_nll"]}
        return item | short


class OwnWindows(Windows):
    """The same without scores."""

    def __getitem__(self, index):
        return {name: value for name, value in super().__getitem__(index).items() if name != "short_nll"}


def trained(
    folder,
    architecture="llama",
    windows=None,
    *,
    self_scoring=False,
    execution=None,
    guarded=False,
    mixed=False,
    seed=1,
    **arguments,
):
    """Train in this process, one of those that torchrun started, and save the weights; the log."""
    torch.set_num_threads(1)
    model = tiny_model(architecture.removesuffix("_broken"))
    if architecture.endswith("_broken"):
        model.get_input_embeddings().weight.data[-1] = torch.nan
    scoring = SelfScoring(base_length=16, base_stride=8) if self_scoring else None
    weighted = WeightedLM(
        model, weighting_from_settings({"variant": "dense"}), self_scoring=scoring, seed=seed
    )
    arguments = ARGUMENTS | arguments
    windows = windows or (OwnWindows() if self_scoring else Windows())
    count = arguments["max_steps"] * arguments["windows_per_update"]
    sources, shares = {"long": windows}, {"long": 1.0}
    if mixed:
        model.set_attn_implementation(NAME)
        sources, shares = sources | {"short": Packed()}, {"long": 0.6, "short": 0.4}
    rows = TrainingRows(sources, shares, count, seed)
    execution = Execution(processes=process_count(), **(execution or {}))
    guard = Guard([OwnWindows()[index] for index in range(3)], eval_steps=2) if guarded else None
    log = train(weighted, rows, folder, seed=seed, arguments=arguments, execution=execution, guard=guard)
    save_weights(weighted, folder / "model")
    return log


def signalled(folder, number, **options):
    """Train, signalled in the middle of the third update; then go on."""

    def signal_one():
        # The last process alone: all must stop at one update.
        if int(os.environ.get("RANK", 0)) == process_count() - 1:
            os.kill(os.getpid(), number)

    per_process = ARGUMENTS["windows_per_update"] // process_count()
    try:
        trained(folder, windows=Windows(at=2 * per_process + 1, do=signal_one), save_steps=100, **options)
    except TrainingStopped as stopped:
        message = str(stopped)
    log = trained(folder, save_steps=100, **options)
    return message, log


SHARDED = {"execution": {"sharding": "full"}}
CASES = {
    "replicas": lambda folder: trained(folder),
    "replicas, tied, recomputed": lambda folder: trained(
        folder, "llama_tied", execution={"gradient_checkpointing": True}
    ),
    "replicas, self-scored": lambda folder: trained(folder, self_scoring=True),
    "shards": lambda folder: trained(folder, **SHARDED),
    "shards, tied, recomputed": lambda folder: trained(
        folder, "llama_tied", execution={"gradient_checkpointing": True, "sharding": "full"}
    ),
    "shards, self-scored": lambda folder: trained(folder, self_scoring=True, **SHARDED),
    "replicas, guarded": lambda folder: trained(folder, guarded=True),
    "shards, guarded": lambda folder: trained(folder, guarded=True, **SHARDED),
    "replicas, mixed": lambda folder: trained(folder, mixed=True),
    "shards, mixed": lambda folder: trained(folder, mixed=True, **SHARDED),
    "replicas, SIGTERM": lambda folder: signalled(folder, signal.SIGTERM),
    "shards, SIGUSR1": lambda folder: signalled(folder, signal.SIGUSR1, **SHARDED),
}


def main(folder, *cases):
    join_processes(process_count())
    stored = {}
    for case in cases:
        stored[case] = CASES[case](Path(folder) / case)
    if int(os.environ.get("RANK", 0)) == 0:
        torch.save(stored, Path(folder) / "logs.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
