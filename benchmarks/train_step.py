"""A training step of a 1B model at 32k tokens: plain full-logits loss against the weighted loss.

    python benchmarks/train_step.py [--repeats 5]

Llama-3.2-1B's shape with random weights, bfloat16, gradient checkpointing, one sequence of 32768 tokens, on
one CUDA device. A step is forward and backward; the optimizer's, the same for both, is left out. In the last
two forms 13 of the 16 layers keep their attention's result, and MLPs take 4096 tokens at a time. Medians over
the repeats.
"""

import argparse
import statistics
import time
from dataclasses import asdict

import torch
from llama_shapes import LLAMA_1B, random_llama

from longspan.models.attention_kernels import fastest_attention
from longspan.models.layers import compile_layers
from longspan.scoring.self_scoring import SelfScoring
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from longspan.weighting.weights import token_weights

TOKENS = 32768
DENSE = weighting_from_settings({"variant": "dense"})


def measure(loss_of, model, batches, repeats):
    """Return the median seconds of a step and its peak memory in GB."""
    seconds = []
    for repeat in range(repeats + 2):
        if repeat == 2:
            torch.cuda.reset_peak_memory_stats()
        model.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        start = time.perf_counter()
        loss_of(**batches[repeat % len(batches)]).backward()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    return statistics.median(seconds[2:]), torch.cuda.max_memory_allocated() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    model = random_llama(LLAMA_1B, TOKENS).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    batches = [
        {
            "input_ids": torch.randint(128256, (1, TOKENS), device="cuda"),
            "short_nll": 10 + torch.rand(1, TOKENS - 1, device="cuda"),
        }
        for _ in range(3)
    ]
    frozen = WeightedLM(model, DENSE)
    self_scored = WeightedLM(
        model, DENSE, self_scoring=SelfScoring(base_length=8192, base_stride=6144, windows_per_batch=4)
    )
    table = []

    def add(name, loss_of):
        table.append((name, *measure(loss_of, model, batches, arguments.repeats)))
        print(table[-1], flush=True)

    def published(input_ids, short_nll):
        logits = model(input_ids=input_ids, use_cache=False).logits[:, :-1].contiguous()
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), input_ids[:, 1:], reduction="none")
        weights = token_weights(nll.detach().float(), short_nll, **asdict(DENSE))
        return (weights * nll).mean()

    def transformers_loss(input_ids, short_nll):
        return model(input_ids=input_ids, labels=input_ids, use_cache=False).loss

    def weighted(input_ids, short_nll):
        return frozen(input_ids, short_nll=short_nll)["loss"]

    def self_scoring(input_ids, short_nll):
        return self_scored(input_ids)["loss"]

    add("full logits, weighted as published", published)
    add("full logits, transformers' loss", transformers_loss)
    with fastest_attention("cuda"):
        add("ours", weighted)
        compile_layers(model)
        add("ours, compiled", weighted)
        model.gradient_checkpointing_disable()
        torch._dynamo.reset()
        compile_layers(model, keep_attention=13, mlp_tokens=4096)
        add("ours, compiled, attention kept in 13 layers", weighted)
        add("the same, self-scored", self_scoring)

    print(
        f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.repeats} repeats, medians"
    )
    print(f"{'':44} {'s/step':>8} {'speed-up':>8} {'peak GB':>8} {'memory':>7}")
    for name, seconds, memory in table:
        print(
            f"{name:44} {seconds:8.3f} {table[0][1] / seconds:8.2f} {memory:8.1f} {memory / table[0][2]:7.2f}"
        )


if __name__ == "__main__":
    main()
