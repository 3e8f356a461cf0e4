"""Scores of a frozen model of short context, and of the whole window: token weighting (arXiv 2503.09202)."""

from dataclasses import replace
from typing import ClassVar

from longspan.costs.needs import NLL_BYTES, forward_needs
from longspan.plugins.citations import TOKEN_WEIGHTING
from longspan.plugins.options import option
from longspan.scoring.geometry import check_geometry, scoring_windows
from longspan.scoring.kind import ScorerKind


class ShortNLL(ScorerKind):
    """NLL of each token given a short context."""

    name: ClassVar[str] = "short_nll"
    rule: ClassVar[str] = "score_short"
    table: ClassVar[str] = "nll_scores"
    stage: ClassVar[str] = "scoring.nll"
    less_memory: ClassVar[str] = "lower windows_per_batch, or take dtype bfloat16 or a smaller model"
    citations: ClassVar[tuple[str, ...]] = (TOKEN_WEIGHTING,)

    base_length: int = option(description="Context of the short model (tokens).", ge=2)
    base_stride: int = option(
        description="Tokens that each later short window scores; divides window_tokens - base_length.", ge=1
    )
    store_long: bool = option(False, "Also store the NLL given the whole window.")
    windows_per_batch: int = option(1, "Short windows in one forward pass; fixed for a store.", ge=1)

    @property
    def without(self):
        """The long NLL, unless it is stored."""
        return frozenset() if self.store_long else frozenset({"long_nll"})

    def check_window(self, window_tokens):
        """Refuse windows that the short ones do not end with."""
        check_geometry(window_tokens, self.base_length, self.base_stride)

    def longest_pass(self, window_tokens):
        """The short context, or the window where its NLL is stored too."""
        return window_tokens if self.store_long else self.base_length

    def window_settings(self, windows):
        """The BOS token, which takes the place of a later short window's first token."""
        return {"bos_token_id": windows.bos_token_id}

    def load(self, model, windows, *, forward, threads=None):
        """Score by :mod:`longspan.scoring.nll`; the first short window is the beginning of the long pass."""
        import torch

        from longspan.models.loading import load_model, pick_device
        from longspan.scoring.nll import long_context_nll, short_context_nll, short_nll_beside_long

        if threads:
            torch.set_num_threads(threads)
        scorer = load_model(model, **forward, device=pick_device()).eval()
        short_context = {
            "base_length": self.base_length,
            "base_stride": self.base_stride,
            "windows_per_batch": self.windows_per_batch,
            "bos_token_id": windows.bos_token_id,
        }

        def score(unscored):
            for data_id, input_ids_T in unscored:
                ids_1T = torch.from_numpy(input_ids_T)[None]
                if self.store_long:
                    long_nll_1N = long_context_nll(scorer, ids_1T)
                    short_nll_1N = short_nll_beside_long(scorer, ids_1T, long_nll_1N, **short_context)
                    columns = {"short_nll": short_nll_1N, "long_nll": long_nll_1N}
                else:
                    columns = {"short_nll": short_context_nll(scorer, ids_1T, **short_context)}
                for name, nll_1N in columns.items():
                    if not nll_1N.isfinite().all():
                        raise ValueError(f"{name} of window {data_id} is not finite; try dtype float32")
                yield {name: nll_1N[0].half().cpu().numpy() for name, nll_1N in columns.items()}

        return score

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """FLOPs of the short windows, and of the long one that is stored in place of the first."""
        short = scoring_windows(window_tokens, self.base_length, self.base_stride)
        if self.store_long:
            short = short[1:]
        flops = sum(shape.forward_flops(self.base_length, part.stop - part.scored_start) for part in short)
        rows = self.base_length * min(self.windows_per_batch, len(short))
        if self.store_long:
            flops += shape.forward_flops(window_tokens)
            rows = max(rows, window_tokens)
        needs = forward_needs(
            shape, flops, windows, rows, dtype=dtype, compile_layers=compile_layers, device_flops=device_flops
        )
        stored = NLL_BYTES * (2 if self.store_long else 1)
        return replace(needs, disk_bytes=None if windows is None else windows * window_tokens * stored)
