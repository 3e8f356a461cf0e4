"""Time the far attention sums of one window against the published way, on one GPU.

    PYTHONPATH=workflow python benchmarks/far_attention.py

Prints the device, and for each way the median time of a window, the memory it takes beside q and k, and the
largest relative error against float64 among the heads of one key head.
"""

import argparse
import statistics

import torch

from longspan.scoring import attention_statistics as attention_stats
from longspan.scoring.attention_statistics import default_min_distance, far_attention_sums


def published_sums(q_BHLD, k_BKLD):
    """One head at a time with its whole L x L matrix in half precision, as the released code does."""
    num_tokens, head_dim = q_BHLD.shape[-2:]
    group = q_BHLD.shape[1] // k_BKLD.shape[1]
    future_LL = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=q_BHLD.device).triu_(1)
    sums = []
    for head in range(q_BHLD.shape[1]):
        s_LL = q_BHLD[0, head] @ k_BKLD[0, head // group].T * head_dim**-0.5
        s_LL.masked_fill_(future_LL, -torch.inf)
        p_LL = s_LL.softmax(-1, dtype=torch.float32).to(q_BHLD.dtype)
        far_LL = p_LL.tril_(-default_min_distance(num_tokens)).float()
        sums.append(torch.stack([far_LL.sum(), far_LL.square().sum()]))
    return torch.stack(sums, 1)[:, None].unbind(0)


def triton_sums(q_BHLD, k_BKLD):
    from longspan.scoring.kernels import far_attention_triton

    num_tokens, head_dim = q_BHLD.shape[-2:]
    return far_attention_triton.far_attention_sums(
        q_BHLD, k_BKLD, head_dim**-0.5, None, default_min_distance(num_tokens)
    )


def float64_sums(q_BHLD, k_BKLD):
    """Of the last key head's queries: float64 takes a hundred times as long."""
    group = q_BHLD.shape[1] // k_BKLD.shape[1]
    num_tokens, head_dim = q_BHLD.shape[-2:]
    return attention_stats._blocked_sums(
        q_BHLD[:, -group:].double(),
        k_BKLD[:, -1:].double(),
        head_dim**-0.5,
        None,
        default_min_distance(num_tokens),
    )


def milliseconds(call, repeats):
    times = []
    for _ in range(repeats):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def extra_gigabytes(call):
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--key-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--num-tokens", type=int, default=32768)
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--skip-published", action="store_true", help="it needs tens of GB at 32768 tokens")
    args = parser.parse_args(argv)

    generator = torch.Generator("cuda").manual_seed(0)

    def random(heads):
        # [B, L, H, D] transposed, as projections give it
        shape = (1, args.num_tokens, heads, args.head_dim)
        dtype = getattr(torch, args.dtype)
        return torch.randn(shape, device="cuda", dtype=dtype, generator=generator).transpose(1, 2)

    q, k = random(args.heads), random(args.key_heads)
    ways = {"published loop": published_sums, "Triton": triton_sums, "longspan": far_attention_sums}
    if args.skip_published:
        del ways["published loop"]
    reference = float64_sums(q, k)
    distance = default_min_distance(args.num_tokens)
    # the scores of the rows that have a far key
    scores = args.heads * (args.num_tokens**2 - distance**2) / 2
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {args.heads} query heads, "
        f"{args.key_heads} key heads, D {args.head_dim}, L {args.num_tokens}, {args.dtype}"
    )
    print("| way | ms a window (median) | times faster | extra GB | TFLOP/s of QKᵀ | error of Σp | of Σp² |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for name, way in ways.items():
        sums = way(q, k)
        extra = extra_gigabytes(lambda way=way: way(q, k))
        time = milliseconds(lambda way=way: way(q, k), 3 if name == "published loop" else args.repeats)
        first = first or time
        errors = [
            ((ours[:, -exact.shape[1] :].double() - exact).abs() / exact).max().item()
            for ours, exact in zip(sums, reference, strict=True)
        ]
        rate = 2 * args.head_dim * scores / time / 1e9
        print(
            f"| {name} | {time:.2f} | {first / time:.1f} | {extra:.3f} | {rate:.0f} | {errors[0]:.1e} "
            f"| {errors[1]:.1e} |"
        )


if __name__ == "__main__":
    main()
