"""One of two gloo processes; rank 0 stores the gradients of two processes and of one."""

import faulthandler
import sys
from itertools import product
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from longspan.scoring.self_scoring import SelfScoring
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from tiny_models import random_ids, tiny_model

SEQUENCES, TOKENS = 4, 40
TIMEOUT_S = 240


def build(frozen):
    scoring = None if frozen else SelfScoring(base_length=16, base_stride=8)
    return WeightedLM(
        tiny_model("llama_tied").train(),
        weighting_from_settings({"variant": "dense"}),
        self_scoring=scoring,
        shuffle_weights=True,
    )


def batch(frozen, rows):
    ids = random_ids(SEQUENCES, TOKENS)
    short_nll = torch.rand(SEQUENCES, TOKENS - 1, generator=torch.Generator().manual_seed(1)) * 4
    batch = {"input_ids": ids[rows], "sequence_ids": ["a", "b", "c", "d"][rows]}
    return batch | ({"short_nll": short_nll[rows]} if frozen else {})


def gradient(module):
    gradients = [parameter.grad for parameter in module.parameters()]
    return torch.cat([(g.full_tensor() if isinstance(g, DTensor) else g).flatten() for g in gradients])


def gradients_of(wrapper, frozen, rank):
    """Return the gradient that two processes make together and, on rank 0, that of one process alone."""
    module = build(frozen)
    if wrapper == "ddp":
        parallel = DistributedDataParallel(module)
    else:
        for layer in module.model.model.layers:
            fully_shard(layer)
        parallel = fully_shard(module)
    # Unequal shares, where the wrapper bears them. Both wrappers average over processes, as Trainer expects.
    first = 1 if wrapper == "ddp" else 2
    rows = slice(0, first) if rank == 0 else slice(first, SEQUENCES)
    output = parallel(**batch(frozen, rows), num_items_in_batch=SEQUENCES * (TOKENS - 1))
    (output["loss"] * dist.get_world_size()).backward()
    two = gradient(module)
    if rank > 0:
        return {}
    alone = build(frozen)
    alone(**batch(frozen, slice(0, SEQUENCES)))["loss"].backward()
    return {"two": two, "one": gradient(alone)}


def main(folder, rank):
    rank = int(rank)
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(TIMEOUT_S, exit=True)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    cases = product(("ddp", "fsdp2"), ("frozen", "self_scoring"))
    stored = {case: gradients_of(case[0], case[1] == "frozen", rank) for case in cases}
    if rank == 0:
        torch.save(stored, Path(folder) / "gradients.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
