"""LongAttn's statistics of a model's first layer (arXiv 2502.16860)."""

from typing import ClassVar

from longspan.costs.needs import (
    ATTENTION_BYTES,
    ATTENTION_SHARE,
    LOADING,
    PROCESS_BYTES,
    READING_RATE,
    START_SECONDS,
    Needs,
    device_rate,
    width_of,
)
from longspan.plugins.citations import LONGATTN
from longspan.scoring.kind import ScorerKind


class Attention(ScorerKind):
    """LongAttn's statistics of the first layer's attention."""

    name: ClassVar[str] = "attention"
    rule: ClassVar[str] = "score_attention"
    table: ClassVar[str] = "attention_scores"
    stage: ClassVar[str] = "scoring.attention_statistics"
    # The statistics come from queries and keys, whatever implementation attends.
    forward_keys: ClassVar[tuple[str, ...]] = ("dtype", "rope_theta", "compile_layers")
    model_digest: ClassVar[str] = "first_layer_digest"
    first_layer_only: ClassVar[bool] = True
    less_memory: ClassVar[str] = "shorten its windows, or take dtype bfloat16 or a smaller model"
    citations: ClassVar[tuple[str, ...]] = (LONGATTN,)

    def load(self, model, windows, *, forward, threads=None):
        """Score by :func:`longspan.scoring.first_layer.statistics_of_batches`."""
        import torch

        from longspan.models.loading import pick_device
        from longspan.scoring.first_layer import load_first_layer, statistics_of_batches

        if threads:
            torch.set_num_threads(threads)
        first_layer = load_first_layer(model, **forward, device=pick_device())

        def score(unscored):
            batches = (([data_id], torch.from_numpy(input_ids_T)[None]) for data_id, input_ids_T in unscored)
            for statistics in statistics_of_batches(first_layer, batches):
                names = ("strength", "variance_block", "variance_matrix")
                yield {name: value_1.item() for name, value_1 in zip(names, statistics, strict=True)}

        return score

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """FLOPs of the first layer's queries, keys, and their products."""
        width = width_of(dtype)
        weights = shape.first_layer_parameters * width
        rate = device_rate(device_flops, dtype) * ATTENTION_SHARE
        start = START_SECONDS + weights / READING_RATE
        flops = shape.attention_flops(window_tokens)
        return Needs(
            host_bytes=PROCESS_BYTES + LOADING * weights,
            device_bytes=weights + 4 * window_tokens * shape.hidden_size * width,
            devices=1,
            seconds=None if windows is None else start + windows * flops / rate,
            disk_bytes=None if windows is None else windows * window_tokens * ATTENTION_BYTES,
        )
