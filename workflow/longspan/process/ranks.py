"""The processes of one training: torchrun starts them, one for each device."""

import datetime
import os
from collections.abc import Callable
from typing import Any

# The first process prepares data and weights while the others wait; torchrun ends them all if one fails.
_PATIENCE = datetime.timedelta(hours=6)


def process_count() -> int:
    """Number of processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def processes_here() -> int:
    """Number of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first_process() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", 0)) == 0


def join_processes(expected: int) -> None:
    """Connect the processes, by NCCL on CUDA and gloo on the CPU, and give each its device.

    Args:
        expected: processes that the settings say.

    Raises:
        ValueError: torchrun started another number.
    """
    count = process_count()
    if count != expected:
        raise ValueError(
            f"{count} processes run, the settings say {expected} (devices times nodes); start as many by "
            "torchrun, or change the settings"
        )
    if count == 1:
        return
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=_PATIENCE)


def decided_by_first(decide: Callable[[], Any]) -> Any:
    """Let the first process decide or do something, and tell all; its fault is everyone's."""
    if process_count() == 1:
        return decide()
    import torch.distributed as dist

    outcome: list = [None, None]
    if is_first_process():
        try:
            outcome[0] = decide()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def largest_over_processes(values: list[float]) -> list[float]:
    """The largest of each value over all processes; on the CPU, so that no device is waited for."""
    return _reduced(values, "MAX")


def sum_over_processes(values: list[float]) -> list[float]:
    """The sum of each value over all processes."""
    return _reduced(values, "SUM")


def barrier() -> None:
    """Wait until every process is here."""
    _reduced([0.0], "SUM")


def _reduced(values: list[float], operation: str) -> list[float]:
    if process_count() == 1:
        return values
    import torch
    import torch.distributed as dist

    reduced = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(reduced, getattr(dist.ReduceOp, operation))
    return reduced.tolist()


def gathered(values: list[str]) -> list[str]:
    """The values of all processes, in the order of processes."""
    if process_count() == 1:
        return values
    import torch.distributed as dist

    parts: list = [None] * process_count()
    dist.all_gather_object(parts, values)
    return [value for part in parts for value in part]
