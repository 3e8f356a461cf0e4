"""Queries and keys of any layers of a causal LM, while it runs over a window.

A function registered with transformers' `AttentionInterface` is handed the queries and keys after RoPE; it
shows those of the chosen layers, and attends as the model would. The pass ends at the last of them.

Shape suffixes: B windows, L tokens.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from longspan.models.attention_kernels import fastest_attention
from longspan.models.layers import compile_layers as compile_decoder_layers
from longspan.models.layers import hidden_state_decoder
from longspan.models.loading import load_model
from longspan.scoring.queries_keys import (
    AttentionCall,
    QueriesKeys,
    check_ids,
    forget_masks,
    layer_name,
    model_name,
    noted_mask,
    own_eager_attention,
    probability_bound,
)

_LOOKING = {"sdpa": "longspan_look_sdpa", "eager": "longspan_look_eager"}
ATTENTIONS = tuple(_LOOKING)
Look = Callable[[int, QueriesKeys], None]


class DecoderAttention:
    """The queries and keys of some layers of a causal LM.

    Args:
        model: any causal LM of transformers.
        layers: numbers of its layers, from 0; None for all.
        attention: by which it attends in these passes, sdpa or eager.

    Raises:
        ValueError: layers beyond the model, another attention, or layers whose attention is not the softmax
            of their queries' and keys' products, compared in a short pass.
    """

    def __init__(
        self, model: PreTrainedModel, layers: Iterable[int] | None = None, *, attention: str = "sdpa"
    ):
        if attention not in ATTENTIONS:
            raise ValueError(
                f"the queries and keys of later layers are had with attention {' or '.join(ATTENTIONS)}, not "
                f"'{attention}'; set it for {model_name(model)}, or take the first layer alone"
            )
        self.model = model
        self._config = model.config.get_text_config()
        self.layers = checked_layers(layers, self._config.num_hidden_layers, model_name(model))
        self.max_positions: int | None = getattr(self._config, "max_position_embeddings", None)
        self._decoder = hidden_state_decoder(model)
        self._attention = attention
        self._check()

    @torch.no_grad()
    def visit(self, input_ids_BL: torch.Tensor, look: Look) -> None:
        """Run the model over windows of equal length up to the last of the layers.

        Args:
            input_ids_BL: token ids, on the model's device.
            look: called with the number and the queries and keys of each of the layers, in order.

        Raises:
            ValueError: windows longer than the position table, or than the sliding window or chunk of one of
                the layers.
        """
        num_tokens = input_ids_BL.shape[1]
        if self.max_positions is not None and num_tokens > self.max_positions:
            raise ValueError(
                f"a window of {num_tokens} tokens is longer than the position table of "
                f"{model_name(self.model)}, max_position_embeddings = {self.max_positions}"
            )
        try:
            self._run(input_ids_BL, _LOOKING[self._attention], _Visit(self, look))
        except _Done as done:
            done.__traceback__ = None  # its frames would keep the intermediate results alive

    def _run(self, input_ids_BL: torch.Tensor, implementation: str, visit: "_Visit | None") -> torch.Tensor:
        """Last hidden states [B, L, …]."""
        forget_masks()
        with _attending(self.model, implementation), _visiting(visit), fastest_attention(input_ids_BL.device):
            return self._decoder(input_ids=input_ids_BL, use_cache=False).last_hidden_state

    @torch.no_grad()
    def _check(self) -> None:
        """Compare each layer's softmax with its own attention, and the model looked at with itself."""
        ids_1L = check_ids(self.model, self.model.get_input_embeddings().weight.device, self.max_positions)
        found: list[int] = []
        # To the end: a layer may attend again.
        visit = _Visit(self, lambda layer, _: found.append(layer), ends=False, compares=True)
        try:
            self._run(ids_1L, _LOOKING["eager"], visit)
            self._require_same_pass(ids_1L)
        except (ValueError, OSError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ValueError(
                f"{model_name(self.model)} does not run with its attention looked at ({error}); take another "
                "scoring model, or the first layer alone"
            ) from error
        if missing := sorted(set(self.layers) - set(found)):
            have = sorted(set(visit.seen))
            raise ValueError(
                f"layers {', '.join(map(str, missing))} of {model_name(self.model)} have no queries and keys "
                "that transformers' attention interface hands out; "
                + (f"layers {', '.join(map(str, have))} have" if have else "take another scoring model")
            )
        print(
            f"checked {len(self.layers)} layers of {model_name(self.model)}: their softmax is their attention"
        )

    def _require_same_pass(self, ids_1L: torch.Tensor) -> None:
        # Some models attend in another way by a name that they do not know.
        own = self._run(ids_1L, self._attention, None).double()
        seen = self._run(
            ids_1L, _LOOKING[self._attention], _Visit(self, lambda *_: None, ends=False)
        ).double()
        share = ((seen - own).norm() / own.norm().clamp_min(1e-12)).item()
        if own.isfinite().all() and not share <= probability_bound(self.model.dtype):
            raise ValueError(
                f"{model_name(self.model)} attends in another way while its attention is looked at (hidden "
                f"states differ by {share:.2g} of their size); take another scoring model"
            )


def load_decoder_attention(
    folder: Path | str,
    layers: Iterable[int] | None,
    *,
    dtype: str,
    attention: str,
    device: torch.device | str = "cpu",
    rope_theta: float | None = None,
    compile_layers: bool = False,
) -> DecoderAttention:
    """Load a causal LM and look at its attention.

    Args:
        folder: the model's folder.
        layers: numbers of layers, from 0; None for all.
        dtype: name of a torch dtype.
        attention: sdpa or eager.
        device: where it runs.
        rope_theta: base of the rotary embedding instead of the model's own; with it, windows may be longer
            than the positions that the model was made for.
        compile_layers: fuse each decoder layer by torch.compile.

    Raises:
        ValueError: as `load_model` and `DecoderAttention`.
    """
    model = load_model(
        folder, dtype=dtype, attention=attention, rope_theta=rope_theta, device=str(device)
    ).eval()
    found = DecoderAttention(model, layers, attention=attention)
    if rope_theta is not None:
        found.max_positions = None
    if compile_layers:
        # Only now, or the short pass of the check would compile too.
        compile_decoder_layers(model)
    return found


def checked_layers(layers: Iterable[int] | None, count: int, model: str) -> tuple[int, ...]:
    """Numbers of layers, ascending; None is all.

    Raises:
        ValueError: a number beyond the model's.
    """
    found = tuple(range(count)) if layers is None else tuple(sorted(set(layers)))
    if beyond := [layer for layer in found if not 0 <= layer < count]:
        raise ValueError(
            f"layers {', '.join(map(str, beyond))} are beyond {model}, which has layers 0 to {count - 1}"
        )
    return found


class _Done(Exception):  # noqa: N818 - it ends the forward pass, it is no error
    pass


class _Visit:
    """One pass: which layers have been seen, and who looks at them."""

    def __init__(self, of: DecoderAttention, look: Look, *, ends: bool = True, compares: bool = False):
        self._of, self._look, self._ends, self._compares = of, look, ends, compares
        self.seen: list[int] = []

    def see(self, call: AttentionCall) -> None:
        layer = len(self.seen) if call.layer is None else call.layer
        wanted = layer in self._of.layers
        if wanted:
            where = layer_name(self._of.model, layer)
            if layer in self.seen:
                raise ValueError(f"{where} attends more than once; take another layer or scoring model")
            call.require_whole(where, self._of._config, call.queries_keys.q.shape[2])
            if self._compares:
                call.require_own_softmax(where)
            self._look(layer, call.queries_keys)
        self.seen.append(layer)
        if wanted and self._ends and layer == self._of.layers[-1]:
            raise _Done


_visits: list[_Visit | None] = []


@contextlib.contextmanager
def _visiting(visit: _Visit | None) -> Iterator[None]:
    _visits.append(visit)
    try:
        yield
    finally:
        _visits.pop()


@contextlib.contextmanager
def _attending(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    configs = {id(config): config for config in (model.config, model.config.get_text_config())}
    before = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = implementation
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


@torch.compiler.disable
def _look_by_sdpa(module, query, key, value, attention_mask, **given):
    _visits[-1].see(AttentionCall(module, (query, key, value), attention_mask, given))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **given)


@torch.compiler.disable
def _look_by_eager(module, query, key, value, attention_mask, **given):
    call = AttentionCall(module, (query, key, value), attention_mask, given)
    _visits[-1].see(call)
    own = own_eager_attention(module) or sdpa_attention_forward
    return own(module, query, key, value, attention_mask, **call.given)


AttentionInterface.register("longspan_look_sdpa", _look_by_sdpa)
AttentionMaskInterface.register("longspan_look_sdpa", sdpa_mask)
AttentionInterface.register("longspan_look_eager", _look_by_eager)
AttentionMaskInterface.register("longspan_look_eager", noted_mask)
