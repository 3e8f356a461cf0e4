"""What the run-time checks of a loaded model cost: seconds, and memory beside the weights.

    PYTHONPATH=workflow python benchmarks/exactness_check.py               # 8B on one GPU
    PYTHONPATH=workflow python benchmarks/exactness_check.py --shape tiny --device cpu

A Llama of random weights in the dtype of scoring (bfloat16) and in that of training (float32). Timed are
the check before the first score or step (no token sees a later one, no pass depends on another) and the one
before a mixture's first step (packed documents as if alone, windows as by the model's own attention). Each
runs twice: the first time includes what CUDA loads once. A training is checked where its weights are loaded,
on the CPU: `--device cpu` times that.
"""

import argparse
import time

import torch
from llama_shapes import LLAMA_1B, LLAMA_8B, TINY, llama_config
from transformers import AutoModelForCausalLM

from longspan.models.document_attention import NAME
from longspan.models.exactness import require_causal, require_documents_apart

SHAPES = {"8b": LLAMA_8B, "1b": LLAMA_1B, "tiny": TINY}
POSITIONS = 32768


def timed(check, model) -> tuple[float, float]:
    """Seconds of a check, and GB that it took beside what was there."""
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    began = time.perf_counter()
    check(model)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return seconds, (torch.cuda.max_memory_allocated() - before) / 1e9 if cuda else 0.0


def main() -> None:
    """Time both checks in both dtypes, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    table = []
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        with torch.device(arguments.device):
            config = llama_config(SHAPES[arguments.shape], POSITIONS)
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=NAME).eval()
        for name, check in (("causality", require_causal), ("documents", require_documents_apart)):
            for turn in ("first", "second"):
                table.append((str(dtype).removeprefix("torch."), name, turn, *timed(check, model)))
        del model
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "CPU"
    print(f"\nLlama {arguments.shape} on {device}, torch {torch.__version__}")
    print(f"{'dtype':10} {'check':10} {'turn':7} {'seconds':>8} {'GB more':>8}")
    for dtype, name, turn, seconds, memory in table:
        print(f"{dtype:10} {name:10} {turn:7} {seconds:8.2f} {memory:8.2f}")


if __name__ == "__main__":
    main()
