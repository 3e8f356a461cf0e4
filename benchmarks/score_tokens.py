"""Short-context scoring of 32k sequences by an 8B model: the full-logits baseline against short_context_nll.

    python benchmarks/score_tokens.py [--repeats 5] [--windows-per-batch 1 5] [--floor] [--profile]

Llama-3-8B's shape with random weights, bfloat16, base length 8192 and stride 6144, on one CUDA device.
Baseline and ours run in turn on the same sequences; medians over the repeats.
"""

import argparse
import functools
import statistics
import time

import torch
from llama_shapes import LLAMA_8B, random_llama

from longspan.models.attention_kernels import fastest_attention
from longspan.models.layers import compile_layers
from longspan.scoring.geometry import scoring_windows
from longspan.scoring.nll import short_context_nll

TOKENS, BASE_LENGTH, BASE_STRIDE = 32768, 8192, 6144


@torch.no_grad()
def baseline_nll(model: torch.nn.Module, ids_BT: torch.Tensor, published: bool) -> torch.Tensor:
    """One window a forward pass, full logits, each token's loss, and the entropy that is thrown away."""
    nll = torch.empty(ids_BT.shape[0], ids_BT.shape[1] - 1, device=ids_BT.device)
    for row, ids_T in enumerate(ids_BT):
        for window in scoring_windows(len(ids_T), BASE_LENGTH, BASE_STRIDE):
            ids = ids_T[window.start : window.stop]
            logits = model(input_ids=ids[None], use_cache=False).logits[:, :-1]
            losses = token_losses(logits, ids[1:], published)
            del logits
            nll[row, window.scored_start - 1 : window.stop - 1] = losses[window.scored_start - window.stop :]
    return nll


def token_losses(logits: torch.Tensor, targets: torch.Tensor, published: bool) -> torch.Tensor:
    """Loss of each token [T] from logits [1, T, V], and its entropy, which nobody reads.

    As published, loss and entropy (a cross-entropy against the probabilities) are taken over logits whose
    vocabulary axis comes second and is not contiguous, which is most of the time. Else rows are contiguous
    and in float32.
    """
    cross_entropy = functools.partial(torch.nn.functional.cross_entropy, reduction="none")
    if published:
        by_class = logits.contiguous().transpose(1, 2)
        losses = cross_entropy(by_class, targets[None])[0]
        cross_entropy(by_class, by_class.softmax(1))
        return losses
    rows = logits[0].float()
    losses = cross_entropy(rows, targets)
    log_p = rows.log_softmax(-1)
    (log_p.exp() * log_p).sum(-1)
    return losses


def measure(function, batches, repeats):
    """Return the median seconds a sequence, the seconds of the first call, and the peak memory in GB."""
    start = time.perf_counter()
    function(batches[0])
    torch.cuda.synchronize()
    first = time.perf_counter() - start
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for repeat in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function(batches[repeat % len(batches)])
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / len(batches[0]))
    return statistics.median(seconds), first, torch.cuda.max_memory_allocated() / 1e9


@torch.no_grad()
def print_floor(model: torch.nn.Module, windows: int) -> None:
    """Time the bare matrix products and attention of one sequence, with nothing between them."""
    per_pass = len(scoring_windows(TOKENS, BASE_LENGTH, BASE_STRIDE)) // windows
    linears = [m for m in model.model.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {
        m.in_features: torch.randn(windows * BASE_LENGTH, m.in_features, device="cuda", dtype=torch.bfloat16)
        for m in linears
    }
    head = torch.randn(1024, 4096, device="cuda", dtype=torch.bfloat16)
    q, k, v = (
        torch.randn(windows, heads, BASE_LENGTH, 128, device="cuda", dtype=torch.bfloat16)
        for heads in (32, 8, 8)
    )

    def products():
        for linear in linears * per_pass:
            torch.mm(inputs[linear.in_features], linear.weight.t())

    def output_layer():
        for _ in range(TOKENS // 1024):
            torch.mm(head, model.lm_head.weight.t(), out_dtype=torch.float32)

    def attention():
        with fastest_attention("cuda"):
            for _ in range(32 * per_pass):
                torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    for function in (products, output_layer, attention):
        times = [measure(lambda _, f=function: f(), [torch.empty(1)], 3)[0] for _ in range(2)]
        print(f"floor, {windows} windows a batch, {function.__name__}: {min(times):.3f} s", flush=True)


def profile(function, batch, rows=18):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        function(batch)
        torch.cuda.synchronize()
    averages = profiler.key_averages()
    print(averages.table(sort_by="self_cuda_time_total", row_limit=rows, max_name_column_width=70))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows-per-batch", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()

    model = random_llama(LLAMA_8B, TOKENS).eval()
    batches = [torch.randint(128256, (1, TOKENS), device="cuda") for _ in range(3)]
    table = []
    if arguments.floor:
        for windows in arguments.windows_per_batch:
            print_floor(model, windows)

    def add(name, function):
        seconds, first, memory = measure(function, batches, arguments.repeats)
        table.append((name, seconds, first, memory))
        print(f"{name}: {seconds:.3f} s", flush=True)

    def ours(windows_per_batch):
        return lambda ids: short_context_nll(
            model,
            ids,
            base_length=BASE_LENGTH,
            base_stride=BASE_STRIDE,
            windows_per_batch=windows_per_batch,
        )

    add("baseline, full logits as published", lambda ids: baseline_nll(model, ids, published=True))
    add("baseline, full logits by row", lambda ids: baseline_nll(model, ids, published=False))
    reference = baseline_nll(model, batches[0], published=False)
    for windows in arguments.windows_per_batch:
        add(f"ours, {windows} windows a batch", ours(windows))
    plain = ours(1)(batches[0])
    compile_layers(model)
    for windows in arguments.windows_per_batch:
        add(f"ours, compiled layers, {windows} windows a batch", ours(windows))
    compiled = ours(arguments.windows_per_batch[0])(batches[0])
    if arguments.profile:
        profile(ours(arguments.windows_per_batch[-1]), batches[0])

    print(
        f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.repeats} repeats, medians"
    )
    for name, nll in (("ours", plain), ("compiled", compiled)):
        difference = (nll - reference).abs()
        print(
            f"{name} - baseline: rms {difference.square().mean().sqrt():.4f}, max {difference.max():.4f} nats"
        )
    print(f"{'':40} {'s/sequence':>10} {'tokens/s':>9} {'speed-up':>8} {'peak GB':>8} {'first call s':>12}")
    for name, seconds, first, memory in table:
        speed_up = table[0][1] / seconds
        print(
            f"{name:40} {seconds:10.3f} {TOKENS / seconds:9.0f} {speed_up:8.2f} {memory:8.1f} {first:12.1f}"
        )


if __name__ == "__main__":
    main()
