"""The processes of one training: torchrun starts them, one for each device."""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from typing import Any

# The first process prepares data and weights while the others wait; torchrun ends them all if one fails.
_PATIENCE = datetime.timedelta(hours=6)
# Variables by which accelerate and Trainer would train otherwise than the settings say.
_FOREIGN = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "PMI_")
_OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def process_count() -> int:
    """Number of processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def processes_here() -> int:
    """Number of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def process_number() -> int:
    """Number of this process, from 0 on."""
    return int(os.environ.get("RANK", 0))


def is_first_process() -> bool:
    """Whether this process is the one that writes."""
    return process_number() == 0


def join_processes(expected: int) -> None:
    """Connect the processes, by NCCL on CUDA and gloo on the CPU, and give each its device.

    Args:
        expected: processes that the settings say.

    Raises:
        ValueError: torchrun started another number, or variables of its are left in the environment.
    """
    count = process_count()
    if count != expected:
        raise ValueError(
            f"{count} processes run by WORLD_SIZE, the settings say {expected} (devices times nodes); "
            "start as many by torchrun, change the settings, or unset WORLD_SIZE if it is left over"
        )
    _refuse_leftovers(count)
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


def _refuse_leftovers(count: int) -> None:
    """Refuse variables of torchrun that are not all those of one of `count` processes."""
    found = {name: os.environ[name] for name in _OF_TORCHRUN if name in os.environ}
    if count == 1:
        ranks = [(name, found.get(name, "0")) for name in ("RANK", "LOCAL_RANK")]
        left = [f"{name}={value}" for name, value in ranks if value != "0"]
        # Alone, it would make accelerate wait for other processes.
        if "LOCAL_RANK" in found and "WORLD_SIZE" not in found:
            left.append(f"LOCAL_RANK={found['LOCAL_RANK']} without WORLD_SIZE")
        if left:
            raise ValueError(
                f"one process runs by the settings, but the environment says {', '.join(left)}; unset it, or "
                "start by torchrun"
            )
    elif missing := [name for name in _OF_TORCHRUN if name not in found]:
        raise ValueError(
            f"WORLD_SIZE={count} is in the environment without {', '.join(missing)}; start by torchrun, "
            "which sets all of them, or unset it"
        )


@contextlib.contextmanager
def settings_alone() -> Iterator[list[str]]:
    """Take variables that change a training by themselves out of the environment, for a while.

    What libraries put there in the meantime is gone after it, so one training leaves nothing to the next.

    Yields:
        Names of the variables that were there.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith(_FOREIGN)}
    for name in before:
        del os.environ[name]
    try:
        yield sorted(before)
    finally:
        for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
            del os.environ[name]
        os.environ.update(before)


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
