"""Queries and keys of an attention layer, as transformers' AttentionInterface hands them out after RoPE.

What a layer does with them is compared with its own eager attention, and refused by name if it is more than
the causal softmax of their products.

Shape suffixes: B windows, H query heads, K key heads, L tokens, D head dimension.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import eager_mask

CHECKED_TOKENS = 24
_BOUND = 1e-3  # of a probability
_IN_SOFTMAX = ("s_aux", "position_bias")
_OF_POSITIONS = ("position_ids", "cache_position")


@dataclass(frozen=True)
class QueriesKeys:
    """What a layer's causal softmax sees: q [B, H, L, D] and k [B, K, L, D] after RoPE.

    Its scores are ``softcap * tanh(q @ k.mT * scale / softcap)``, without a softcap ``q @ k.mT * scale``.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    softcap: float | None

    def probabilities(self) -> torch.Tensor:
        """Softmax [B, H, L, L] of a short window's scores, float32 (float64 for float64 inputs)."""
        dtype = torch.promote_types(self.q.dtype, torch.float32)
        k_BHLD = self.k.repeat_interleave(self.q.shape[1] // self.k.shape[1], 1).to(dtype)
        scores_BHLL = self.q.to(dtype) @ k_BHLD.mT * self.scale
        if self.softcap is not None:
            scores_BHLL = self.softcap * torch.tanh(scores_BHLL / self.softcap)
        later_LL = torch.ones(scores_BHLL.shape[-2:], dtype=torch.bool, device=scores_BHLL.device).triu(1)
        return scores_BHLL.masked_fill_(later_LL, -math.inf).softmax(-1)


class AttentionCall:
    """One call of a model's attention: what it is given, in the form that all of them share.

    Attributes:
        module: the attention layer.
        inputs: queries, keys and values.
        mask: additive mask, or None.
        given: all other options, with the scale.
        queries_keys: queries and keys, with scale and softcap.
        layer: number of the layer, from 0; None if the module does not say.
    """

    def __init__(self, module: nn.Module, inputs: tuple, mask: torch.Tensor | None, given: Mapping[str, Any]):
        query, key, _ = inputs
        scaling = given.get("scaling")
        scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
        self.module, self.inputs, self.mask = module, inputs, mask
        self.given = {**given, "scaling": scale}
        self.queries_keys = QueriesKeys(query, key, scale, given.get("softcap"))
        self.layer: int | None = getattr(module, "layer_idx", None)

    def require_whole(self, where: str, config: Any, num_tokens: int) -> None:
        """Refuse attention that is not the causal softmax over all earlier tokens of a window.

        Args:
            where: the layer and its model, for errors.
            config: the model's text config.
            num_tokens: tokens of the window.

        Raises:
            ValueError: sinks, position biases, a choice of keys, a sliding window or chunk that is shorter
                than the window.
        """
        if not getattr(self.module, "is_causal", True):
            raise ValueError(f"{where} is not causal")
        for option, value in self.given.items():
            if option in _IN_SOFTMAX and value is not None:
                raise ValueError(f"{where} adds {option} to its softmax, which the sums leave out")
            # A choice of keys, say, of which a short sequence shows nothing.
            if isinstance(value, torch.Tensor) and option not in _OF_POSITIONS:
                raise _more(where, f"{option} of its own")
        kinds = getattr(config, "layer_types", None) or []
        layer = self.layer or 0
        kind = kinds[layer] if layer < len(kinds) else None
        reach = self.given.get("sliding_window")
        if kind == "sliding_attention":
            reach = reach or config.sliding_window
        elif kind == "chunked_attention":
            reach = config.attention_chunk_size
        if reach is not None and reach < num_tokens:
            raise ValueError(
                f"{where} has a sliding window of {reach} tokens, shorter than the window of {num_tokens}: "
                "it sees nothing of what is far; take another layer or scoring model"
            )

    def require_own_softmax(self, where: str) -> None:
        """Refuse attention whose weights are not the softmax of the queries' and keys' products.

        Only for a call in a pass with the masks of :func:`noted_mask`.

        Raises:
            ValueError: other shapes, a mask of the model's own, or weights that differ.
        """
        q, k = self.queries_keys.q, self.queries_keys.k
        if q.shape[2:] != k.shape[2:]:
            raise _more(where, "queries and keys of different shapes")
        if self.mask is not None and _masks and self.mask.data_ptr() not in {x.data_ptr() for x in _masks}:
            raise _more(where, "a mask of its own (a sparse choice of keys, say)")
        probabilities_BHLL = self.queries_keys.probabilities()
        if not probabilities_BHLL.isfinite().all():
            return  # the sums of a window say so
        own = own_eager_attention(self.module)
        if own is None:
            return
        weights_BHLL = own(self.module, *self.inputs, self.mask, **self.given)[1]
        if weights_BHLL is None or weights_BHLL.shape != probabilities_BHLL.shape:
            raise _more(where, "weights of another shape")
        difference = (weights_BHLL.float() - probabilities_BHLL).abs().max().item()
        if not difference <= probability_bound(weights_BHLL.dtype):
            raise _more(
                where, f"more than the softmax of its scores: probabilities differ by {difference:.2g}"
            )


def layer_name(model: nn.Module, layer: int) -> str:
    """A layer and its model, as errors name them."""
    which = "the first layer" if layer == 0 else f"layer {layer}"
    return f"{which} of {model_name(model)}"


def model_name(model: nn.Module) -> str:
    """A model's class and type, as errors name it."""
    return f"{type(model).__name__} ({model.config.model_type})"


def check_ids(model: nn.Module, device: torch.device | str, max_positions: int | None) -> torch.Tensor:
    """Ids [1, L] of a sequence so short that every layer sees all of it."""
    config = model.config.get_text_config()
    reaches = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    bounds = (bound for bound in (max_positions, *reaches) if isinstance(bound, int) and bound > 0)
    tokens = min([CHECKED_TOKENS, *bounds])
    vocabulary = model.get_input_embeddings().weight.shape[0]
    return (torch.arange(tokens, device=device) * 7919 + 5)[None] % vocabulary


def own_eager_attention(module: nn.Module) -> Any:
    """The eager attention of the file that defines a module, or None."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def probability_bound(dtype: torch.dtype) -> float:
    """Most that probabilities of a dtype may differ by rounding."""
    return _BOUND if dtype in (torch.float32, torch.float64) else 50 * _BOUND


_masks: list[torch.Tensor] = []


def noted_mask(*arguments, **options) -> torch.Tensor | None:
    """The mask of eager attention, noted, so that a mask of a model's own is told from it."""
    mask = eager_mask(*arguments, **options)
    if mask is not None:
        _masks.append(mask)
    return mask


def forget_masks() -> None:
    """Forget the masks of passes before."""
    _masks.clear()


def _more(where: str, what: str) -> ValueError:
    return ValueError(f"{where} attends by {what}, which the sums leave out; take another scoring model")
