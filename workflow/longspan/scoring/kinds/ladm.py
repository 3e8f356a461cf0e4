"""LADM's attention between the spans of a window, by any layers of a model (arXiv 2503.02502)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from longspan.costs.needs import (
    ATTENTION_SHARE,
    LOADING,
    PROCESS_BYTES,
    READING_RATE,
    SCORING_SHARE,
    START_SECONDS,
    Needs,
    device_rate,
    forward_needs,
    width_of,
)
from longspan.plugins.citations import LADM
from longspan.plugins.options import option, optional
from longspan.scoring.kind import ScorerKind
from longspan.store.contracts import Contract

# Bytes of a window in files: an id, a digest, and a score for each layer.
_ROW_BYTES = 60
_LAYER_BYTES = 8
FIRST_SPAN = 16


class Ladm(ScorerKind):
    """LADM's contextual dependency score of each layer."""

    name: ClassVar[str] = "ladm"
    rule: ClassVar[str] = "score_ladm"
    table: ClassVar[str] = "ladm_scores"
    contract: ClassVar[Contract] = Contract(
        # An entry for each of the scorer's layers, ascending.
        pa.schema(
            {"data_id": pa.string(), "tokens_digest": pa.int64(), "layer_scores": pa.list_(pa.float64())}
        ),
        rule="score_ladm",
        key="data_id",
    )
    stage: ClassVar[str] = "scoring.span_attention"
    less_memory: ClassVar[str] = "shorten its windows, or take dtype bfloat16 or a smaller model"
    citations: ClassVar[tuple[str, ...]] = (LADM,)

    layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | Literal["all"] = option(
        [0],
        "Layers that are measured, from 0, or all; the first alone is had without the rest of the model. The "
        "released code takes all.",
    )
    mode: Literal["paper", "released"] = option(
        "paper",
        "paper: every span, softmax over all keys, sum over spans. released: every near_spans-th span of "
        "queries and of keys, softmax without the query's own span, mean over spans.",
    )
    span_tokens: int = option(128, "Tokens of a span; divides window_tokens.", ge=1)
    skipped_spans: int = option(1, "First spans of a window that are no context (m).", ge=0)
    near_spans: int = option(
        4, "Spans before a span that are too near to be its context (n); in mode released, the step.", ge=1
    )
    first_span: int | None = optional(
        "First span that is scored (n0), 16 if not given. Not in mode released, which takes those behind "
        "skipped_spans + 4 * near_spans.",
        ge=0,
    )

    @property
    def first_layer_only(self):
        """Whether the first layer alone is measured."""
        return self.layers != "all" and set(self.layers) == {0}

    @property
    def model_digest(self):
        """The first layer's digest where it alone is read."""
        return "first_layer_digest" if self.first_layer_only else "digest"

    @property
    def forward_keys(self):
        """All of the forward pass, but for the first layer's queries and keys how the model attends."""
        keys = ("dtype", "rope_theta", "compile_layers")
        return keys if self.first_layer_only else (*keys, "attention")

    @property
    def attentions(self):
        """Those of :mod:`longspan.scoring.decoder_attention` where later layers are measured."""
        return None if self.first_layer_only else ("sdpa", "eager")

    @property
    def _pairs(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "skipped_spans": self.skipped_spans,
            "near_spans": self.near_spans,
        }

    def check_window(self, window_tokens):
        """Refuse windows that spans do not divide, and those without spans enough."""
        spans, rest = divmod(window_tokens, self.span_tokens)
        if rest:
            raise ValueError(
                f"spans of {self.span_tokens} tokens do not divide a window of {window_tokens}; set "
                f"span_tokens to one of its divisors, {_near_divisor(window_tokens, self.span_tokens)} say"
            )
        if self.mode == "released":
            if self.first_span is not None:
                raise ValueError("first_span is no option of mode released; remove it")
            first = self.skipped_spans + 4 * self.near_spans + 1
        else:
            first = FIRST_SPAN if self.first_span is None else self.first_span
            # Two spans of context, or there is no spread.
            least = self.skipped_spans + self.near_spans + 2
            if first < least:
                raise ValueError(
                    f"first_span {first} has fewer than two spans of context; it must be at least "
                    f"skipped_spans + near_spans + 2 = {least}"
                )
        if spans <= first:
            raise ValueError(
                f"a window of {window_tokens} tokens has {spans} spans of {self.span_tokens}, and those from "
                f"span {first} on are scored; lower span_tokens, near_spans or first_span"
            )

    def check_shape(self, shape):
        """Refuse layers beyond the model."""
        if self.layers != "all" and max(self.layers) >= shape.num_hidden_layers:
            raise ValueError(
                f"layer {max(self.layers)} is beyond its model, which has layers 0 to "
                f"{shape.num_hidden_layers - 1}"
            )

    def load(self, model, windows, *, forward, threads=None):
        """Score by :func:`longspan.scoring.span_attention.span_attention` of each layer."""
        import torch

        from longspan.models.loading import pick_device

        if threads:
            torch.set_num_threads(threads)
        device = pick_device()
        visit = self._visitor(model, forward, device)

        def score(unscored):
            for data_id, pending in _one_ahead(self._started(visit, unscored, device)):
                yield {"layer_scores": pending.scores(data_id)}

        return score

    def _visitor(self, model, forward, device) -> Callable:
        """A function of windows and of who looks at the queries and keys of each layer."""
        if self.first_layer_only:
            from longspan.scoring.first_layer import load_first_layer

            first_layer = load_first_layer(model, **forward, device=device)
            return lambda ids_BL, look: look(0, first_layer.queries_keys(ids_BL))
        from longspan.scoring.decoder_attention import load_decoder_attention

        layers = None if self.layers == "all" else self.layers
        return load_decoder_attention(model, layers, **forward, device=device).visit

    def _started(self, visit, unscored, device) -> Iterator[tuple[str, "_Pending"]]:
        import torch

        from longspan.scoring.span_attention import query_spans, span_attention

        for data_id, input_ids_T in unscored:
            first = FIRST_SPAN if self.first_span is None else self.first_span
            spans = query_spans(len(input_ids_T) // self.span_tokens, **self._pairs, first_span=first)
            found: list[tuple[int, torch.Tensor]] = []

            def look(layer, seen, found=found, spans=spans):
                pfs_1JN = span_attention(
                    seen.q,
                    seen.k,
                    span_tokens=self.span_tokens,
                    spans=spans,
                    own_span=self.mode == "paper",
                    scale=seen.scale,
                    softcap=seen.softcap,
                )
                found.append((layer, pfs_1JN[0].to("cpu", non_blocking=True)))

            ids_1T = torch.from_numpy(input_ids_T)[None]
            if device == "cuda":
                ids_1T = ids_1T.pin_memory()
            visit(ids_1T.to(device, non_blocking=True), look)
            yield data_id, _Pending(found, spans, self._pairs)

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """FLOPs of the products of queries and keys, and behind the first layer of the pass up to them."""
        count = shape.num_hidden_layers if self.layers == "all" else len(set(self.layers))
        disk = None if windows is None else windows * (_ROW_BYTES + _LAYER_BYTES * count)
        every = shape.num_attention_heads * shape.head_dim * window_tokens**2
        # Mode released multiplies the queries of every so many spans only.
        products = every / (self.near_spans if self.mode == "released" else 1)
        if self.first_layer_only:
            width = width_of(dtype)
            weights = shape.first_layer_parameters * width
            rate = device_rate(device_flops, dtype) * ATTENTION_SHARE
            start = START_SECONDS + weights / READING_RATE
            flops = shape.attention_flops(window_tokens) - every + products
            return Needs(
                host_bytes=PROCESS_BYTES + LOADING * weights,
                device_bytes=weights + 4 * window_tokens * shape.hidden_size * width,
                devices=1,
                seconds=None if windows is None else start + windows * flops / rate,
                disk_bytes=disk,
            )
        depth = shape.num_hidden_layers if self.layers == "all" else max(self.layers) + 1
        passed = shape.forward_flops(window_tokens, 0) * depth / shape.num_hidden_layers
        needs = forward_needs(
            shape,
            passed + count * products * SCORING_SHARE / ATTENTION_SHARE,
            windows,
            window_tokens,
            dtype=dtype,
            compile_layers=compile_layers,
            device_flops=device_flops,
        )
        return replace(needs, disk_bytes=disk)


class _Pending:
    """Span attention of a window's layers, on its way from the device."""

    def __init__(self, found: list, spans: range, pairs: dict[str, Any]):
        import torch

        self._found, self._spans, self._pairs = found, spans, pairs
        # Waiting for the stream would wait for the next window too, and leave the device idle after it.
        self._copied = torch.cuda.Event() if torch.cuda.is_available() else None
        if self._copied is not None:
            self._copied.record()

    def scores(self, data_id: str) -> list[float]:
        """Score of each layer, ascending.

        Raises:
            ValueError: attention that is not finite.
        """
        from longspan.scoring.span_attention import dependency_score

        if self._copied is not None:
            self._copied.synchronize()
        scores = []
        for layer, pfs_JN in sorted(self._found, key=lambda pair: pair[0]):
            if not pfs_JN.isfinite().all():
                raise ValueError(
                    f"attention scores are not finite in window {data_id}, layer {layer}; try dtype bfloat16 "
                    "or float32"
                )
            scores.append(dependency_score(pfs_JN, self._spans, **self._pairs).item())
        return scores


def _one_ahead(started: Iterator) -> Iterator:
    """Each item when the next one has been started, so that a device works while the host waits."""
    held = next(started, None)
    while held is not None:
        following = next(started, None)
        yield held
        held = following


def _near_divisor(number: int, near: int) -> int:
    divisors = [size for size in range(1, number + 1) if number % size == 0]
    return min(divisors, key=lambda size: (abs(size - near), size))
