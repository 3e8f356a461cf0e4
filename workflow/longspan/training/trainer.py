"""Hugging Face's Trainer for token-weighted losses: it shards on any device, stops when asked, and counts.

Shape suffixes: B sequences, N = T - 1 entries of T tokens.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.utils.data import SequentialSampler
from transformers import Trainer

from longspan.models.layers import naming_compiled_layers
from longspan.process.peak_memory import peak_memory_bytes
from longspan.process.ranks import (
    barrier,
    gathered,
    is_first_process,
    largest_over_processes,
    process_count,
    sum_over_processes,
)
from longspan.process.stop_signals import StopSignals
from longspan.store.permissions import follow_umask
from longspan.training.checkpoint_loading import loading_no_code
from longspan.training.checkpoints import last_whole_checkpoint, naming_last_checkpoint

_STATISTICS = ("count", "nll", "weight", "weight_squared", "above_one", "sequences", "entropy", "tokens")


class TrainingStopped(Exception):  # noqa: N818 - it reports no fault
    """A training that a signal asked to stop, with its state saved."""

    def __init__(self, received: signal.Signals, step: int, checkpoint: str | None):
        kept = f"its state is in {checkpoint}" if checkpoint else "no update was done yet"
        super().__init__(f"stopped by {received.name} after update {step}; {kept}; run again to go on")


class WeightedTrainer(Trainer):
    """Trainer that counts weights and speed, heeds signals and refuses values that are no number.

    Args:
        stop: signals that ask it to stop; it does before the next batch, at the state of the last update.
        flops_of: floating-point operations of training on a sequence, by the lengths of its documents.
        peak_flops: FLOP/s of one device, or None where not known.
        arguments: of Trainer; the data are taken in the order in which they come.
    """

    def __init__(
        self,
        *,
        stop: StopSignals,
        flops_of: Callable[[Sequence[int]], float],
        peak_flops: float | None,
        **arguments,
    ):
        super().__init__(**arguments)
        self._stop = stop
        self._flops_of = flops_of
        self._peak_flops = peak_flops
        self._update_ids: list[str] = []
        self._losses: list[tuple[torch.Tensor, list[str]]] = []
        self._random_state: tuple | None = None
        self._has_passed = False
        self._reset_statistics()

    # What accelerate leaves out

    def create_accelerator_and_postprocess(self) -> None:
        """Let FSDP2 shard on the CPU too, where accelerate by itself knows replicas only."""
        super().create_accelerator_and_postprocess()
        # The state is the process's: a training that was stopped here would keep the optimizer from loading.
        self.accelerator.gradient_state._set_sync_gradients(True)
        if self.args.fsdp_plugin_args is not None and self.args.device.type == "cpu":
            AcceleratorState._shared_state["distributed_type"] = DistributedType.FSDP
            AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin(
                **self.args.fsdp_plugin_args
            )
            self.is_fsdp_enabled = True
        if self.is_fsdp_enabled:
            # The first process sends the others their parts of the weights. As an argument of the plugin it
            # would stay in the environment, for every later training of this process.
            self.accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = True

    def _get_train_sampler(self, train_dataset=None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    # An update: its batches, their loss, their statistics

    def get_batch_samples(self, *arguments, **keywords):
        """Note when an update begins, and its sequences."""
        self._began = time.perf_counter()
        self._random_state = None
        self._losses = []
        batches, targets = super().get_batch_samples(*arguments, **keywords)
        self._update_ids = [data_id for batch in batches for data_id in batch["sequence_ids"]]
        return batches, targets

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Work through one batch, unless the training must stop."""
        if self._random_state is None:
            self._random_state = _random_state()
        self._heed_signals(model)
        with contextlib.ExitStack() as first_pass:
            if not self._has_passed:
                # What compiles does so in its first pass, forward and backward.
                first_pass.enter_context(naming_compiled_layers(self.model.model))
            loss = super().training_step(model, inputs, num_items_in_batch)
        self._has_passed = True
        self._losses.append((loss, inputs["sequence_ids"]))
        if self.accelerator.sync_gradients:
            self._refuse_broken_losses()
        return loss

    def _refuse_broken_losses(self) -> None:
        # Once an update, since looking at a loss waits for the device.
        values = torch.stack([loss for loss, _ in self._losses]).tolist()
        broken = [number for number, value in enumerate(values) if not math.isfinite(value)]
        if largest_over_processes([float(bool(broken))])[0]:
            data_ids = [data_id for number in broken for data_id in self._losses[number][1]]
            self._refuse(f"loss ({values[broken[0]] if broken else math.nan})", data_ids)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Compute the weighted loss, and count what its log will say."""
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch)
        self._sums += _statistics(inputs, outputs)
        whole = [[inputs["input_ids"].shape[1]]] * len(inputs["input_ids"])
        self._flops += sum(map(self._flops_of, inputs.get("document_lengths", whole)))
        # Replicas and shards average gradients over processes; num_items_in_batch counts those of all.
        return outputs["loss"] * process_count()

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not math.isfinite(norm):
            self._refuse(f"gradient's norm ({float(norm)})", self._update_ids)
        return norm

    def _refuse(self, what: str, data_ids: list[str]) -> None:
        good = last_whole_checkpoint(Path(self.args.output_dir))
        raise ValueError(
            f"the {what} of update {self.state.global_step + 1} is no finite number, on windows "
            f"{', '.join(gathered(data_ids))}; the last good checkpoint is {good or 'the base model'}; "
            "lower the learning rate, or look at these windows"
        )

    def _reset_statistics(self) -> None:
        self._flops = 0.0
        self._sums = torch.zeros(len(_STATISTICS), dtype=torch.float64, device=self.args.device)

    def log(self, logs, *arguments, **keywords):
        """Add to the log of an update what was counted since the last."""
        if "loss" in logs:
            logs = logs | self._counted()
            self._reset_statistics()
        super().log(logs, *arguments, **keywords)

    def _counted(self) -> dict[str, float]:
        *sums, flops = sum_over_processes([*self._sums.tolist(), self._flops])
        sums = dict(zip(_STATISTICS, sums, strict=True))
        seconds, memory_bytes = largest_over_processes(
            [time.perf_counter() - self._began, _peak_memory_bytes(self.args.device)]
        )
        mean = sums["weight"] / sums["count"]
        speed = {
            "seconds": seconds,
            "tokens_per_second": sums["tokens"] / seconds,
            "memory_bytes": int(memory_bytes),
        }
        if self._peak_flops is not None:
            speed["mfu"] = flops / seconds / process_count() / self._peak_flops
        return speed | {
            "loss_unweighted": sums["nll"] / sums["count"],
            "weight_mean": mean,
            "weight_std": max(sums["weight_squared"] / sums["count"] - mean**2, 0.0) ** 0.5,
            "share_above_one": sums["above_one"] / sums["count"],
            "weight_entropy": sums["entropy"] / sums["sequences"],
            "tokens": int(sums["tokens"]),
        }

    # Stopping and saving

    def _heed_signals(self, model) -> None:
        number = int(largest_over_processes([float(self._stop.received or 0)])[0])
        if not number:
            return
        step = self.state.global_step
        folder = Path(self.args.output_dir)
        if step and last_whole_checkpoint(folder) != str(folder / f"checkpoint-{step}"):
            # Batches of the update that is broken off may have drawn random numbers.
            _set_random_state(self._random_state)
            self._save_checkpoint(model, trial=None)
        barrier()
        raise TrainingStopped(signal.Signals(number), step, last_whole_checkpoint(folder))

    def _save_checkpoint(self, model, trial) -> None:
        folder = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        with naming_last_checkpoint(folder, name, folder / name):
            super()._save_checkpoint(model, trial)
        if is_first_process():
            follow_umask(folder / name)

    def _save_optimizer_and_scheduler(self, output_dir) -> None:
        # Behind the last update only the weights are needed, to write the result should the disk be full
        # then. Those of shards are written here too.
        if self.is_fsdp_enabled or self.state.global_step < self.state.max_steps:
            super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir) -> None:
        super()._save_rng_state(output_dir)
        # Trainer's state, written next, says that the checkpoint is whole.
        barrier()

    # Going on

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        with loading_no_code(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        with loading_no_code(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint) -> None:
        with loading_no_code(checkpoint):
            super()._load_rng_state(checkpoint)

    # Held-out loss

    def evaluate(self, *arguments, **keywords):
        """Score the held-out windows, without a trace in what the training draws after it."""
        state = _random_state()
        try:
            return super().evaluate(*arguments, **keywords)
        finally:
            _set_random_state(state)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Score one batch: its mean NLL, and the NLL [B, N] of its tokens."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            nll_BN = model(input_ids=inputs["input_ids"], scores_only=True)["nll"]
        return nll_BN.mean(), nll_BN, inputs["labels"]


def _statistics(inputs: dict, outputs: dict) -> torch.Tensor:
    """What a batch adds to the sums of `_STATISTICS`; float64, on its device, without waiting for it."""
    counts_BN = inputs["labels"][:, 1:] != -100
    weights_BN = outputs["weights"].double() * counts_BN
    share_BN = weights_BN / weights_BN.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    # 1 for a sequence of equal weights, 0 if a single token has them all.
    entropy_B = -torch.xlogy(share_BN, share_BN).sum(1) / counts_BN.sum(1).clamp_min(2).log()
    sums = (
        counts_BN.sum(),
        outputs["nll"].double().sum(),
        weights_BN.sum(),
        weights_BN.square().sum(),
        (weights_BN > 1).sum(),
        torch.tensor(len(weights_BN), device=weights_BN.device),
        entropy_B.sum(),
        torch.tensor(inputs["input_ids"].numel(), device=weights_BN.device),
    )
    return torch.stack([value.double() for value in sums])


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory_bytes()


def _random_state() -> tuple:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
