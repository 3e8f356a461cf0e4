"""Time LADM's scores of a window beside LongAttn's far attention sums, on one GPU.

    PYTHONPATH=workflow python benchmarks/ladm.py
    PYTHONPATH=workflow python benchmarks/ladm.py --tilings     # tries tilings of the kernel, and no more

A model of an 8B's shape with random bfloat16 weights, written to a temporary folder (16 GB); without a GPU,
or with --tiny, a tiny one in short windows. Prints the device, the time of the kernels alone on queries and
keys of one layer (LongAttn's sums, then spans in both modes), then seconds a window and the peak memory end
to end, for the first layer, four layers, and all.
"""

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from llama_shapes import LLAMA_8B, TINY, llama_config
from transformers import AutoModelForCausalLM

from longspan.models.loading import pick_device
from longspan.scoring.attention_statistics import far_attention_sums
from longspan.scoring.kinds.attention import Attention
from longspan.scoring.kinds.ladm import FIRST_SPAN, Ladm
from longspan.scoring.span_attention import query_spans, span_attention

LAYERS = {"first": [0], "four": [0, 1, 2, 3], "all": "all"}
SPANS = {"skipped_spans": 1, "near_spans": 4, "first_span": FIRST_SPAN}


def seconds_of(call, device, repeats):
    """Median seconds of a call, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def queries_keys(shape, window_tokens, device, dtype):
    head_dim = shape["hidden_size"] // shape["num_attention_heads"]
    generator = torch.Generator(device).manual_seed(0)
    return (
        torch.randn(
            1, shape[f"num_{heads}_heads"], window_tokens, head_dim, generator=generator, device=device
        ).to(dtype)
        for heads in ("attention", "key_value")
    )


def kernels(shape, window_tokens, span_tokens, device, dtype, repeats):
    q, k = queries_keys(shape, window_tokens, device, dtype)
    sums = seconds_of(lambda: far_attention_sums(q, k), device, repeats)
    print(f"\n{window_tokens} tokens, queries and keys of one layer | ms | of LongAttn's sums\n|---|---|---|")
    print(f"| LongAttn's far attention sums | {sums * 1e3:.2f} | 1 |")
    for mode in ("paper", "released"):
        spans = query_spans(window_tokens // span_tokens, mode, **SPANS)
        options = {"span_tokens": span_tokens, "spans": spans, "own_span": mode == "paper"}
        taken = seconds_of(lambda options=options: span_attention(q, k, **options), device, repeats)
        print(f"| LADM's spans, {mode} | {taken * 1e3:.2f} | {taken / sums:.2f} |")


def tilings(shape, window_tokens, span_tokens, repeats):
    from longspan.scoring.kernels.span_attention_triton import Tiling
    from longspan.scoring.kernels.span_attention_triton import span_attention as fused

    q, k = queries_keys(shape, window_tokens, "cuda", torch.bfloat16)
    processors = torch.cuda.get_device_properties(0).multi_processor_count
    spans = query_spans(window_tokens // span_tokens, "paper", **SPANS)
    print("| block | warps | stages | programs a processor | ms |\n|---|---|---|---|---|")
    for block, warps, stages, programs in itertools.product((64, 128), (4, 8), (2, 3, 4), (1, 2, 3)):
        tiling = Tiling(block, warps, stages)
        call = functools.partial(
            fused,
            *(q, k, q.shape[-1] ** -0.5, None, span_tokens, spans, True),
            tiling=tiling,
            programs=programs * processors,
        )
        try:
            taken = seconds_of(call, "cuda", repeats)
        except Exception as error:  # a tiling that takes more shared memory than there is
            print(f"| {block} | {warps} | {stages} | {programs} | {type(error).__name__} |")
            continue
        print(f"| {block} | {warps} | {stages} | {programs} | {taken * 1e3:.2f} |")


def end_to_end(shape, window_tokens, span_tokens, device, dtype, windows, compile_layers, modes, depths):
    config = llama_config(shape, window_tokens)
    forward = {"dtype": dtype, "attention": "sdpa", "rope_theta": None, "compile_layers": compile_layers}
    ids = torch.randint(shape["vocab_size"], (windows + 2, window_tokens), dtype=torch.int32).numpy()
    print(
        f"\n{window_tokens} tokens, end to end | s a window | million tokens/s | peak GB\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        model.save_pretrained(folder)
        del model
        scorers = {"LongAttn, first layer": Attention()}
        for mode, depth in itertools.product(modes, depths):
            scorers[f"LADM {mode}, {depth}"] = Ladm(layers=LAYERS[depth], mode=mode, span_tokens=span_tokens)
        for name, scorer in scorers.items():
            keys = {key: forward[key] for key in scorer.forward_keys}
            score = scorer.load(Path(folder), SimpleNamespace(), forward=keys)
            list(score(iter([("warm", ids[0]), ("warm", ids[1])])))
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            list(score((f"w{row}", ids[row + 2]) for row in range(windows)))
            taken = (time.perf_counter() - start) / windows
            peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
            print(f"| {name} | {taken:.4f} | {window_tokens / taken / 1e6:.3f} | {peak:.2f} |", flush=True)
            del score
            if device == "cuda":
                torch.cuda.empty_cache()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--window-tokens", type=int, help="32768; 1024 for a tiny model")
    parser.add_argument("--span-tokens", type=int, help="128; 16 for a tiny model")
    parser.add_argument("--windows", type=int, default=8, help="windows of the end-to-end figures")
    parser.add_argument("--repeats", type=int, default=10, help="calls of a kernel")
    parser.add_argument("--modes", nargs="+", default=["paper"], choices=["paper", "released"])
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--plain", action="store_true", help="leave layers as they are, not compiled")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, whatever the device")
    parser.add_argument("--tilings", action="store_true", help="try tilings of the kernel, and no more")
    args = parser.parse_args(argv)

    device = pick_device()
    tiny = args.tiny or device == "cpu"
    shape, dtype = (TINY, "float32") if tiny else (LLAMA_8B, "bfloat16")
    window_tokens = args.window_tokens or (1024 if tiny else 32768)
    span_tokens = args.span_tokens or (16 if tiny else 128)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}: {'a tiny model' if tiny else 'an 8B'}, {dtype}")
    if args.tilings:
        tilings(shape, window_tokens, span_tokens, args.repeats)
        return
    kernels(shape, window_tokens, span_tokens, device, getattr(torch, dtype), args.repeats)
    compiled = device == "cuda" and not args.plain
    end_to_end(
        shape, window_tokens, span_tokens, device, dtype, args.windows, compiled, args.modes, args.layers
    )


if __name__ == "__main__":
    main()
