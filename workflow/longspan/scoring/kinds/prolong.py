"""ProLong's pairs of segments: what an earlier segment is worth to a later one (arXiv 2405.17915)."""

from dataclasses import replace
from typing import ClassVar

import pyarrow as pa

from longspan.costs.needs import forward_needs
from longspan.plugins.citations import PROLONG
from longspan.plugins.options import option
from longspan.scoring.kind import ScorerKind
from longspan.store.contracts import Contract

# Bytes of a row in files: an id and a digest, an NLL for each segment, two numbers and an NLL for each pair.
_ROW_BYTES, _SEGMENT_BYTES, _PAIR_BYTES = 60, 4, 8


class Prolong(ScorerKind):
    """NLL of segments alone, and after an earlier segment, for pairs that are drawn by the window's id."""

    name: ClassVar[str] = "prolong"
    rule: ClassVar[str] = "score_prolong"
    table: ClassVar[str] = "prolong_scores"
    contract: ClassVar[Contract] = Contract(
        # Entry p of the lists of pairs: mean NLL (nats) of segment `later` after segment `earlier`.
        pa.schema(
            {
                "data_id": pa.string(),
                "tokens_digest": pa.int64(),
                "segment_nll": pa.list_(pa.float32()),
                "later": pa.list_(pa.int32()),
                "earlier": pa.list_(pa.int32()),
                "pair_nll": pa.list_(pa.float32()),
            }
        ),
        rule="score_prolong",
        key="data_id",
    )
    stage: ClassVar[str] = "scoring.segment_pairs"
    less_memory: ClassVar[str] = "lower pairs_per_batch, or take dtype bfloat16 or a smaller model"
    citations: ClassVar[tuple[str, ...]] = (PROLONG,)

    segment_tokens: int = option(128, "Tokens of a segment; divides window_tokens.", ge=2)
    pairs: int = option(500, "Pairs of segments that are drawn from a window; all if it has fewer.", ge=1)
    pairs_per_batch: int = option(16, "Pairs in one forward pass; fixed for a store.", ge=1)

    def check_window(self, window_tokens):
        """Refuse windows that segments do not divide, or that are one segment."""
        if window_tokens % self.segment_tokens:
            raise ValueError(
                f"segments of {self.segment_tokens} tokens do not divide a window of {window_tokens}; set "
                "segment_tokens to one of its divisors"
            )
        if window_tokens < 2 * self.segment_tokens:
            raise ValueError(f"a window of {window_tokens} tokens is one segment; lower segment_tokens")

    def longest_pass(self, window_tokens):
        """Two segments."""
        return 2 * self.segment_tokens

    def load(self, model, windows, *, forward, threads=None):
        """Score by :func:`longspan.scoring.segment_pairs.segment_nll`."""
        import torch

        from longspan.models.loading import load_model, pick_device
        from longspan.scoring.segment_pairs import sampled_pairs, segment_nll

        if threads:
            torch.set_num_threads(threads)
        scorer = load_model(model, **forward, device=pick_device()).eval()

        def score(unscored):
            for data_id, input_ids_T in unscored:
                pairs_P2 = sampled_pairs(data_id, len(input_ids_T) // self.segment_tokens, self.pairs)
                alone_N, after_P = segment_nll(
                    scorer,
                    torch.from_numpy(input_ids_T),
                    pairs_P2,
                    segment_tokens=self.segment_tokens,
                    pairs_per_batch=self.pairs_per_batch,
                )
                if not (alone_N.isfinite().all() and after_P.isfinite().all()):
                    raise ValueError(f"the NLL of window {data_id} is not finite; try dtype float32")
                yield {
                    "segment_nll": alone_N.cpu().numpy(),
                    "later": pairs_P2[:, 0],
                    "earlier": pairs_P2[:, 1],
                    "pair_nll": after_P.cpu().numpy(),
                }

        return score

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """FLOPs of the segments alone and of the pairs."""
        tokens = self.segment_tokens
        segments = window_tokens // tokens
        pairs = min(self.pairs, segments * (segments - 1) // 2)
        flops = segments * shape.forward_flops(tokens) + pairs * shape.forward_flops(2 * tokens, tokens)
        rows = 2 * tokens * self.pairs_per_batch
        needs = forward_needs(
            shape, flops, windows, rows, dtype=dtype, compile_layers=compile_layers, device_flops=device_flops
        )
        row = _ROW_BYTES + _SEGMENT_BYTES * segments + _PAIR_BYTES * pairs
        return replace(needs, disk_bytes=None if windows is None else windows * row)
