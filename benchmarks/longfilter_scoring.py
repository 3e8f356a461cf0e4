"""LongFilter's whole scoring of 32k sequences by an 8B model: two naive passes against one store's columns.

    python benchmarks/longfilter_scoring.py [--repeats 5] [--windows-per-batch 1 4] [--layers 32]

Long NLL of 32768 tokens and short NLL in windows of 8192 every 6144, Llama-3-8B's shape with random weights,
bfloat16, on one CUDA device. The naive form runs the long pass and all five short windows, and makes full
logits and their entropies, in chunks. Ours is what `score_short` with `store_long` runs: the first short
window is the beginning of the long pass, and no logits are written. Both run in turn on the same sequences;
medians over the repeats. Goal: at least 3.2 times.
"""

import argparse

import torch
from llama_shapes import LLAMA_8B, random_llama
from score_tokens import BASE_LENGTH, BASE_STRIDE, TOKENS, baseline_nll, measure, token_losses

from longspan.models.layers import compile_layers
from longspan.scoring.geometry import scoring_windows
from longspan.scoring.nll import long_context_nll, short_nll_beside_long
from longspan.training.flops import forward_flops, peak_flops

CHUNK_TOKENS = 8192


@torch.no_grad()
def naive_long_nll(model: torch.nn.Module, ids_BT: torch.Tensor, published: bool) -> torch.Tensor:
    """The long pass, then full logits in chunks, as `baseline_nll` takes them of a short window."""
    nll = torch.empty(ids_BT.shape[0], ids_BT.shape[1] - 1, device=ids_BT.device)
    for row, ids_T in enumerate(ids_BT):
        hidden_1TD = model.model(input_ids=ids_T[None], use_cache=False).last_hidden_state
        for start in range(0, len(ids_T) - 1, CHUNK_TOKENS):
            stop = min(start + CHUNK_TOKENS, len(ids_T) - 1)
            logits = model.lm_head(hidden_1TD[:, start:stop])
            nll[row, start:stop] = token_losses(logits, ids_T[start + 1 : stop + 1], published)
    return nll


def naive_nll(
    model: torch.nn.Module, ids_BT: torch.Tensor, published: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Short and long NLL by passes of their own."""
    return baseline_nll(model, ids_BT, published), naive_long_nll(model, ids_BT, published)


def our_nll(
    model: torch.nn.Module, ids_BT: torch.Tensor, windows_per_batch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Short and long NLL as a scorer with store_long computes them."""
    long_nll = long_context_nll(model, ids_BT)
    short_nll = short_nll_beside_long(
        model,
        ids_BT,
        long_nll,
        base_length=BASE_LENGTH,
        base_stride=BASE_STRIDE,
        windows_per_batch=windows_per_batch,
    )
    return short_nll, long_nll


def floor_flops(model: torch.nn.Module) -> float:
    """FLOPs of the long pass and of the later short windows, with nothing computed twice."""
    later = scoring_windows(TOKENS, BASE_LENGTH, BASE_STRIDE)[1:]
    short = (forward_flops(model, [w.stop - w.start], w.stop - w.scored_start) for w in later)
    return forward_flops(model, [TOKENS]) + sum(short)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows-per-batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--layers", type=int, default=32, help="fewer, for a quick look")
    arguments = parser.parse_args()

    model = random_llama(LLAMA_8B | {"num_hidden_layers": arguments.layers}, TOKENS).eval()
    batches = [torch.randint(128256, (1, TOKENS), device="cuda") for _ in range(3)]
    flops, peak = floor_flops(model), peak_flops("cuda")
    floor = f"{flops / 1e15:.3f} PFLOP a sequence"
    print(floor + (f": {flops / peak:.3f} s at {peak / 1e12:.0f} TFLOP/s" if peak else ""), flush=True)
    table = []

    def add(name, function):
        seconds, first, memory = measure(function, batches, arguments.repeats)
        table.append((name, seconds, first, memory))
        print(f"{name}: {seconds:.3f} s", flush=True)

    add("naive, full logits as published", lambda ids: naive_nll(model, ids, published=True))
    add("naive, full logits by row", lambda ids: naive_nll(model, ids, published=False))
    reference = naive_nll(model, batches[0], published=False)
    found = {}
    for name, prepare in (("ours", lambda model: None), ("ours, compiled layers", compile_layers)):
        prepare(model)
        for windows in arguments.windows_per_batch:
            add(
                f"{name}, {windows} windows a batch",
                lambda ids, windows=windows: our_nll(model, ids, windows),
            )
        found[name] = our_nll(model, batches[0], arguments.windows_per_batch[0])

    print(
        f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.repeats} repeats, medians"
    )
    for name, nll in found.items():
        for kind, ours, naive in zip(("short", "long"), nll, reference, strict=True):
            difference = (ours - naive).abs()
            rms = difference.square().mean().sqrt()
            print(f"{name} - naive, {kind} NLL: rms {rms:.4f}, max {difference.max():.4f} nats")
    print(f"{'':40} {'s/sequence':>10} {'tokens/s':>9} {'speed-up':>8} {'peak GB':>8} {'first call s':>12}")
    for name, seconds, first, memory in table:
        speed_up = table[0][1] / seconds
        print(
            f"{name:40} {seconds:10.3f} {TOKENS / seconds:9.0f} {speed_up:8.2f} {memory:8.1f} {first:12.1f}"
        )


if __name__ == "__main__":
    main()
