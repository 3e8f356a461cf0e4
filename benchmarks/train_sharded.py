"""Full fine-tuning of an 8B model at 32k tokens, sharded over the GPUs of a host, with no offload to the CPU.

    torchrun --standalone --nproc-per-node 2 benchmarks/train_sharded.py
    torchrun --standalone --nproc-per-node 2 benchmarks/train_sharded.py --shape tiny --tokens 256
    python benchmarks/train_sharded.py --shape 1b --short-share 0.5 --warm-up 4 --updates 12 [--uncompiled]

Llama-3-8B's shape with random weights and tokens, one sequence a device and update, trained by the library's
own path: FSDP2, bfloat16 products with float32 master weights, AdamW, layers compiled, attention kept and
the rest recomputed. Once with short NLLs that are given (frozen), once with those of the model itself. A
time is that of a whole update, median without the first two. The third command trains on a mixture of long
windows and packed short documents, half of each, with layers compiled or not.

Model FLOPs utilisation counts no recomputation: ``3 * (2 T P + 2 T V D + 2 layers heads d T^2)`` a sequence
of T tokens, P weights of the layers' matrices, V x D the output layer, d the size of a head; self-scoring
adds the forward passes of its windows (longspan.training.flops). It is divided by the device's measured rate
of bfloat16 products, 798 TFLOP/s for H100 and H200.

Last, a smaller model of the same width is stopped by SIGUSR1, resumed from its sharded checkpoint, and
compared with an unbroken training.
"""

import argparse
import gc
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from llama_shapes import LLAMA_1B, LLAMA_8B, TINY, llama_config

from longspan.costs.needs import training_memory_bytes
from longspan.models import document_attention
from longspan.process.ranks import is_first_process, join_processes, process_count
from longspan.scoring.self_scoring import SelfScoring
from longspan.training.loop import Execution, TrainingStopped, train
from longspan.training.rows import TrainingRows
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings

SHAPES = {"8b": LLAMA_8B, "1b": LLAMA_1B, "tiny": TINY}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class RandomWindows:
    """Windows of random tokens with random short NLLs; reading one can be made to stop the training."""

    data_ids = tuple(f"random-00000_{number:07d}" for number in range(64))

    def __init__(self, vocabulary, tokens, scored, stop_at=None):
        self.vocabulary, self.tokens, self.scored, self.stop_at = vocabulary, tokens, scored, stop_at
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == self.stop_at:
            os.kill(os.getpid(), signal.SIGUSR1)
        draw = np.random.default_rng(index)
        item = {
            "sequence_ids": self.data_ids[index],
            "input_ids": draw.integers(0, self.vocabulary, self.tokens),
        }
        if self.scored:
            item["short_nll"] = (10 + draw.uniform(size=self.tokens - 1)).astype(np.float32)
        return item


class RandomDocuments(RandomWindows):
    """Sequences of random documents of up to an eighth of a window."""

    data_ids = tuple(f"random-packed_{number:07d}" for number in range(64))

    def __getitem__(self, index):
        item = super().__getitem__(index)
        ends = np.random.default_rng(index).choice(np.arange(1, self.tokens), 15, replace=False)
        edges = np.unique([0, *ends, *range(0, self.tokens + 1, self.tokens // 8)])
        return item | {"document_lengths": np.diff(edges).tolist()}


def train_once(arguments, folder, *, layers, updates, scoring=None, save_steps=10**6, stop_at=None):
    """Train a fresh model; its config and log."""
    config = llama_config(SHAPES[arguments.shape] | {"num_hidden_layers": layers}, arguments.tokens)
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    weighted = WeightedLM(model, weighting_from_settings({"variant": "dense"}), self_scoring=scoring)
    windows = RandomWindows(config.vocab_size, arguments.tokens, scoring is None, stop_at)
    sources, shares = {"long": windows}, {"long": 1 - arguments.short_share}
    if arguments.short_share:
        model.set_attn_implementation(document_attention.NAME)
        sources["short"] = RandomDocuments(config.vocab_size, arguments.tokens, scoring is None)
        shares["short"] = arguments.short_share
    rows = TrainingRows(sources, shares, updates * process_count(), seed=0)
    settings = {
        "max_steps": updates,
        "per_device_train_batch_size": 1,
        "windows_per_update": process_count(),
        "learning_rate": 1e-5,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 1,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": True,
        "save_steps": save_steps,
    }
    execution = Execution(
        processes=process_count(),
        sharding=arguments.sharding,
        cpu_offload=arguments.cpu_offload,
        gradient_checkpointing=True,
        compile_layers=not arguments.uncompiled,
        keep_attention=_keeps_attention(arguments),
    )
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        return config, train(weighted, rows, folder, seed=0, arguments=settings, execution=execution)
    finally:
        del weighted, model
        gc.collect()
        torch._dynamo.reset()
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


def _keeps_attention(arguments):
    return not (arguments.recompute_attention or arguments.uncompiled)


def report(*words):
    if is_first_process():
        print(*words, flush=True)


def measure_speed(arguments, folder):
    quarter = arguments.tokens // 4
    own = SelfScoring(base_length=quarter, base_stride=3 * quarter // 4, windows_per_batch=4)
    layers = arguments.layers or SHAPES[arguments.shape]["num_hidden_layers"]
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    report(f"{arguments.shape}, {layers} layers, {arguments.tokens} tokens, {process_count()} x {device}")
    report(f"sharding {arguments.sharding}{', offloaded' if arguments.cpu_offload else ''}")
    report(f"torch {torch.__version__}, transformers {transformers.__version__}")
    kinds = {"frozen": None} | ({} if arguments.frozen_only else {"self-scored": own})
    for name, scoring in kinds.items():
        config, log = train_once(
            arguments, folder / name, layers=layers, updates=arguments.updates, scoring=scoring
        )
        estimate = training_memory_bytes(
            config,
            arguments.tokens,
            processes=process_count(),
            sharding=arguments.sharding,
            cpu_offload=arguments.cpu_offload,
            keep_attention=_keeps_attention(arguments),
        )
        steady = log.speed[arguments.warm_up :]
        seconds, mfu = (statistics.median(row[key] or 0.0 for row in steady) for key in ("seconds", "mfu"))
        memory = max(row["memory_bytes"] for row in log.speed)
        report("losses ", *(f"{row['loss_weighted']:.4f}" for row in log.metrics))
        report("seconds", *(f"{row['seconds']:.3f}" for row in log.speed))
        report(
            f"{'':12} {'s/update':>9} {'tokens/s':>9} {'MFU':>6} {'peak GB':>8} {'estimate':>9} {'off':>6}"
        )
        report(
            f"{name:12} {seconds:9.3f} {arguments.tokens * process_count() / seconds:9.0f} {mfu:6.1%} "
            f"{memory / 1e9:8.1f} {estimate / 1e9:9.1f} {estimate / memory - 1:6.1%}"
        )
        if arguments.short_share:
            tokens = arguments.tokens * process_count() * len(steady)
            report(f"mean of all {tokens / sum(row['seconds'] for row in steady):.0f} tokens/s")


def show_resume(arguments, folder):
    layers = arguments.resume_layers
    _, unbroken = train_once(arguments, folder / "unbroken", layers=layers, updates=4)
    try:
        # One reading for the length, one for each update, one ahead.
        train_once(arguments, folder / "broken", layers=layers, updates=4, stop_at=4)
    except TrainingStopped as stopped:
        report(f"\n{stopped}")
    written = sorted(
        (path.relative_to(folder / "broken"), path.stat().st_size)
        for path in (folder / "broken").rglob("*.distcp")
    )
    report("\n".join(f"{size / 1e9:8.2f} GB {name}" for name, size in written))
    began = time.perf_counter()
    _, resumed = train_once(arguments, folder / "broken", layers=layers, updates=4)
    report(f"resumed and finished in {time.perf_counter() - began:.1f} s")
    for one, two in zip(unbroken.metrics, resumed.metrics, strict=True):
        losses = f"{one['loss_weighted']:.7f} unbroken, {two['loss_weighted']:.7f} resumed"
        report(f"update {one['step']}: loss {losses}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=2, help="updates that do not count")
    parser.add_argument("--short-share", type=float, default=0.0, help="of packed documents in a mixture")
    parser.add_argument("--uncompiled", action="store_true", help="leave the layers as they are")
    parser.add_argument("--layers", type=int, help="instead of the shape's")
    parser.add_argument("--sharding", choices=("none", "full"), help="full, with several processes")
    parser.add_argument("--cpu-offload", action="store_true")
    parser.add_argument(
        "--recompute-attention", action="store_true", help="instead of keeping it: less memory"
    )
    parser.add_argument("--resume-layers", type=int, default=4, help="0 leaves the resume out")
    parser.add_argument("--resume-only", action="store_true")
    parser.add_argument("--frozen-only", action="store_true", help="leave self-scoring out")
    arguments = parser.parse_args()
    if arguments.sharding is None:
        arguments.sharding = "full" if process_count() > 1 else "none"
    join_processes(process_count())
    with tempfile.TemporaryDirectory() as scratch:
        # One folder for all processes: they are of one host.
        shared = [scratch]
        if process_count() > 1:
            torch.distributed.broadcast_object_list(shared, src=0)
        folder = Path(shared[0])
        if not arguments.resume_only:
            measure_speed(arguments, folder)
        if arguments.resume_layers:
            show_resume(arguments, folder)
        if process_count() > 1:
            torch.distributed.barrier()


if __name__ == "__main__":
    main()
