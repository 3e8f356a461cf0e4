"""How far a scorer's number format moves its scores, and the tokens that a sparse loss picks by them.

    python benchmarks/scorer_noise.py --model results/models/smollm2-135m \
        --tokens results/tokens/classics/smollm2-135m --windows results/windows/classics-2k

Every window of the shards is scored in float32, which counts as the truth, and in each other form. d is the
long minus the short NLL; the overlap is the share of the float32 scores' top kappa by |d| that a form picks
too, a sequence at a time, averaged. Deterministic on one device, so it runs once.
"""

import argparse
import platform
from pathlib import Path

import torch

from longspan.models.loading import load_model, pick_device
from longspan.scoring.nll import long_context_nll, short_context_nll
from longspan.weighting.weights import token_weights
from longspan.windows.store import WindowStore

# name: dtype, compiled layers, short windows a pass
FORMS = {
    "float32": ("float32", False, 1),
    "float32, kept as float16": ("float32", False, 1),
    "float16": ("float16", False, 1),
    "bfloat16": ("bfloat16", False, 1),
    "bfloat16, 4 windows a pass": ("bfloat16", False, 4),
    "bfloat16, compiled layers": ("bfloat16", True, 1),
}
KAPPAS = (0.05, 0.1, 0.25, 0.5)


def window_ids(tokens, windows):
    shards = {path.stem: (tokens / path.name, path) for path in sorted(windows.glob("[0-9]*.parquet"))}
    store = WindowStore(shards)
    ids_BT = torch.stack([torch.from_numpy(store.input_ids(data_id)) for data_id in store.data_ids])
    return ids_BT, store.bos_token_id


def scores(folder, form, ids_BT, bos_token_id, base_length, base_stride):
    """Return short and long NLL [B, T - 1] in float32 on the CPU."""
    dtype, compiled, windows_per_batch = FORMS[form]
    model = load_model(
        folder, dtype=dtype, attention="sdpa", rope_theta=None, device=pick_device(), compile_layers=compiled
    ).eval()
    geometry = {"base_length": base_length, "base_stride": base_stride, "bos_token_id": bos_token_id}
    rows = [
        torch.cat(
            [
                short_context_nll(model, ids_1T, windows_per_batch=windows_per_batch, **geometry),
                long_context_nll(model, ids_1T),
            ]
        )
        for ids_1T in ids_BT.split(1)
    ]
    return torch.stack(rows, 1).cpu()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of token shards")
    parser.add_argument("--windows", type=Path, required=True, help="folder of window shards")
    parser.add_argument("--base-length", type=int, default=512)
    parser.add_argument("--base-stride", type=int, default=384)
    arguments = parser.parse_args()

    ids_BT, bos_token_id = window_ids(arguments.tokens, arguments.windows)
    geometry = (arguments.base_length, arguments.base_stride)

    def picked(short_BN, long_BN, kappa):
        return (
            token_weights(
                long_BN, short_BN, transforms=("absolute",), sparsification=kappa, normalization=None
            )
            > 0
        )

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    print(f"{device}, torch {torch.__version__}: {len(ids_BT)} windows of {ids_BT.shape[1]} tokens")
    exact_short_BN, exact_long_BN = scores(arguments.model, "float32", ids_BT, bos_token_id, *geometry)
    exact_d_BN = exact_long_BN - exact_short_BN
    # The first window's context is the same in both passes: its d is rounding alone.
    scored = slice(arguments.base_length - 1, None)
    size_BN = exact_d_BN[:, scored].abs()
    print(
        f"float32: |d| mean {size_BN.mean():.3f}, median {size_BN.median():.3f} nats over the tokens behind "
        f"the first {arguments.base_length}"
    )
    print(
        "| form | rms of NLL error | worst | rms of d's error | "
        + " | ".join(f"top {k}" for k in KAPPAS)
        + " |"
    )
    print("|---" * (4 + len(KAPPAS)) + "|")
    for form in list(FORMS)[1:]:
        if "kept as" in form:
            short_BN, long_BN = exact_short_BN.half().float(), exact_long_BN.half().float()
        else:
            short_BN, long_BN = scores(arguments.model, form, ids_BT, bos_token_id, *geometry)
        error_BN = torch.stack([short_BN - exact_short_BN, long_BN - exact_long_BN])
        d_error_BN = (long_BN - short_BN - exact_d_BN)[:, scored]
        overlaps = []
        for kappa in KAPPAS:
            exact, found = picked(exact_short_BN, exact_long_BN, kappa), picked(short_BN, long_BN, kappa)
            overlaps.append(((exact & found).sum(1) / exact.sum(1)).mean().item())
        print(
            f"| {form} | {error_BN.square().mean().sqrt():.4f} | {error_BN.abs().max():.3f} "
            f"| {d_error_BN.square().mean().sqrt():.4f} | " + " | ".join(f"{o:.1%}" for o in overlaps) + " |"
        )


if __name__ == "__main__":
    main()
