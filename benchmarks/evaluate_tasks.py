"""Answers to prompts by a small model: tokens a second of log-likelihoods and of greedy writing.

    python benchmarks/evaluate_tasks.py [--model results/models/smollm2-135m/longspan.json]
        [--lengths 4096 8192] [--samples 32] [--new-tokens 64] [--tokens-per-batch 65536] [--repeats 3]

Without --model: SmolLM2-135M's shape with random weights, in bfloat16 on CUDA and float32 on the CPU. Prompts
are random ids whose lengths differ by up to 60 tokens, as those of a task do; medians over the repeats. The
last column compares what is written with a cache with what is written without, for the first prompt of a
length: rounding may part the two in bfloat16.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longspan.evaluation.answers import AnsweringModel
from longspan.evaluation.prompts import PromptTokenizer
from longspan.models.loading import load_model, pick_device

SMOLLM2_135M = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_RAGGED, _ANSWER_TOKENS, _COMPARED_TOKENS = 60, 8, 16


def random_model(dtype: torch.dtype) -> torch.nn.Module:
    """A model of SmolLM2-135M's shape."""
    torch.manual_seed(0)
    with torch.device(pick_device()):
        model = LlamaForCausalLM(LlamaConfig(**SMOLLM2_135M))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.05)
    return model.to(dtype).eval()


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that warms up."""
    found = []
    for number in range(repeats + 1):
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if number:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    """Print a line for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="manifest of a model folder")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--tokens-per-batch", type=int, default=65536)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    if arguments.model is None:
        model = random_model(getattr(torch, dtype))
        tokenizer = SimpleNamespace(end_ids=frozenset(), decode=lambda ids: " ".join(map(str, ids)))
    else:
        options = {"dtype": dtype, "attention": "sdpa", "rope_theta": None}
        model = load_model(arguments.model.parent, **options, device=pick_device()).eval()
        tokenizer = PromptTokenizer(arguments.model)
    answering, without = (
        AnsweringModel(model, tokenizer, tokens_per_batch=arguments.tokens_per_batch, keeps_cache=keeps)
        for keeps in (True, False)
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, {dtype}, {arguments.tokens_per_batch} tokens a batch, {arguments.samples} samples")
    print("length  NLL tok/s  read+write s  written tok/s  GB    first tokens as without a cache")
    draw = np.random.default_rng(0)
    for length in arguments.lengths:
        sizes = length - arguments.new_tokens - draw.integers(0, _RAGGED, arguments.samples)
        prompts = [draw.integers(3, model.config.vocab_size, size) for size in sizes]
        answer = draw.integers(3, model.config.vocab_size, _ANSWER_TOKENS)
        pairs = [(prompt, answer) for prompt in prompts]
        per_batch = max(1, arguments.tokens_per_batch // length)
        batches = [prompts[start : start + per_batch] for start in range(0, len(prompts), per_batch)]

        def write(batches=batches):
            for batch in batches:
                answering.write(batch, [arguments.new_tokens] * len(batch))

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        scoring = seconds(lambda pairs=pairs: answering.nll(pairs), arguments.repeats)
        writing = seconds(write, arguments.repeats)
        memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else float("nan")
        kept, again = (
            one.write(prompts[:1], [_COMPARED_TOKENS])[0].input_ids for one in (answering, without)
        )
        same = sum(1 for first, second in zip(kept, again, strict=False) if first == second)
        tokens = sum(map(len, prompts))
        print(
            f"{length:6d}  {tokens / scoring:9.0f}  {writing:12.2f}  "
            f"{arguments.samples * arguments.new_tokens / writing:13.0f}  {memory:4.1f}  "
            f"{same} of {len(again)}"
        )


if __name__ == "__main__":
    main()
