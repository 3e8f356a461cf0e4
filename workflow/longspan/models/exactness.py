"""Checks of a loaded model by short sequences, before it is used: what would not be exact is refused by name.

They look at what the model computes, not at a list of known types, so they hold for types to come. They run
in float32 whatever the weights' dtype, one layer's weights cast at a time, so that no rounding hides a fault
or looks like one.

Shape suffixes: B sequences, T tokens, D hidden size.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from longspan.models.document_attention import MIXTURE, NAME, Documents, decoder_inputs, require_attended
from longspan.models.layers import decoder_layers, hidden_state_decoder
from longspan.models.rope import depends_on_length, tokens_of_one_table
from longspan.process.ranks import is_first_process

_TOKENS = 48
_DOCUMENTS = (16, 5, 11, 16)
_BOUND = 1e-3  # of a hidden state's norm, in float32
_BOUND_ROUNDED = 0.1  # where a model runs in its own dtype only
_WITHOUT_FLOAT32 = "flash"  # kernels that take no other dtype than the rounded ones
_ROUNDED = (torch.bfloat16, torch.float16)


def require_causal(model: nn.Module) -> None:
    """Refuse a model whose hidden states depend on later tokens, other sequences, or passes before.

    Args:
        model: a Hugging Face causal language model.

    Raises:
        ValueError: naming the model and what it depends on.
    """
    _run(model, _check_causality, "no token sees a later one, and no pass depends on another")


def require_documents_apart(model: nn.Module) -> None:
    """Refuse a model in which packed documents see each other, or attention that lacks part of its own.

    Args:
        model: a Hugging Face causal language model whose attention is that of
            :mod:`longspan.models.document_attention`.

    Raises:
        ValueError: naming the model and what to do.
    """
    _run(model, _check_documents, "packed documents are as if alone, windows as by its own attention")


def caches_exactly(model: nn.Module) -> bool:
    """Whether a model gives the same numbers when it keeps what it computed of the tokens before.

    Args:
        model: a Hugging Face causal language model.
    """
    check = _Check(model)
    dtype = in_float32(model) if check.exact else contextlib.nullcontext()
    try:
        with torch.no_grad(), _without_dropout(model), uncompiled(model), dtype:
            _check_cache(check)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # What a class raises about arguments that it does not know is its own.
        if is_first_process():
            reason = " ".join(str(error).split())
            print(f"{check.name} keeps no keys and values; each token reads all before it again: {reason}")
        return False
    return True


def _run(model: nn.Module, run: Callable[["_Check"], None], shown: str) -> None:
    began = time.perf_counter()
    check = _Check(model)
    try:
        _run_once(check, run)
    except (ValueError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # A model that casts by itself, or quantized weights, may not go through in float32.
        if not check.exact or not _is_rounded(model):
            raise check.failed(error) from error
        check.exact = False
        _run_once(check, run)
    if is_first_process():
        print(f"checked {type(model).__name__} in {time.perf_counter() - began:.1f} s: {shown}")


def _run_once(check: "_Check", run: Callable[["_Check"], None]) -> None:
    dtype = in_float32(check.model) if check.exact else contextlib.nullcontext()
    with torch.no_grad(), _without_dropout(check.model), uncompiled(check.model), dtype:
        run(check)


def _check_causality(check: "_Check") -> None:
    ids_T = check.ids(_TOKENS)
    half = len(ids_T) // 2
    other_T = torch.cat([ids_T[:half], ids_T[half:].flip(0).roll(1)])
    both_BTD = check.hidden(torch.stack([ids_T, other_T]))
    check.require_same(
        both_BTD[:1, :half],
        both_BTD[1:, :half],
        "lets a token see those after it: it is no causal language model, or its attention is not what is "
        "set; take another model or attention, in a mixture none with position biases",
    )
    check.require_same(
        check.hidden(ids_T[None]),
        both_BTD[:1],
        "gives a sequence other numbers alone than beside another, or than before; take another model",
    )
    config = check.model.config
    if depends_on_length(config) and (bound := tokens_of_one_table(config)):
        # Positions a little and far beyond the bound stand for sequences as long.
        before = check.hidden(ids_T[None], start=bound)
        check.hidden(ids_T[None], start=2 * bound)
        check.require_same(
            check.hidden(ids_T[None], start=bound),
            before,
            "has a rotary embedding that remembers the longest sequence before; load it by "
            "longspan.models.loading.load_model, which lets it forget, or take another model",
        )


def _check_cache(check: "_Check") -> None:
    ids_T = check.ids(_TOKENS)
    ids_BT = torch.stack([ids_T, ids_T.flip(0)])
    half = len(ids_T) // 2
    output = check.decoder(input_ids=ids_BT[:, :half], use_cache=True)
    found = [output.last_hidden_state]
    for position in range(half, len(ids_T)):
        output = check.decoder(
            input_ids=ids_BT[:, position : position + 1],
            past_key_values=output.past_key_values,
            use_cache=True,
        )
        found.append(output.last_hidden_state)
    check.require_same(
        torch.cat(found, 1).double(),
        check.hidden(ids_BT),
        "gives other numbers when it keeps what it computed of the tokens before",
    )


def _check_documents(check: "_Check") -> None:
    _require_own_attention(check)
    ids_T = check.ids(sum(_DOCUMENTS))
    lengths, room = [], len(ids_T)
    for length in _DOCUMENTS:
        lengths.append(min(length, check.reach, room))
        room -= lengths[-1]
    lengths = [length for length in lengths if length]
    ids_T = ids_T[: sum(lengths)]
    packed_BTD = check.hidden(ids_T[None], lengths=lengths)
    check.require_same(
        packed_BTD,
        torch.cat([check.hidden(part_T[None]) for part_T in ids_T.split(lengths)], 1),
        "lets documents that are packed into one sequence see each other (by a state that flows from token "
        "to token, say), or changes them; train it without a mixture",
    )


def _require_own_attention(check: "_Check") -> None:
    ids_T = check.ids(_TOKENS)
    ours_BTD = check.hidden(ids_T[None])
    try:
        check.model.set_attn_implementation("eager")
        own_BTD = check.hidden(ids_T[None])
    finally:
        check.model.set_attn_implementation(NAME)
    check.require_same(
        ours_BTD,
        own_BTD,
        "attends by more than the attention of a mixture computes (sinks, biases, a sparse choice of keys); "
        "train it without a mixture, with attention: eager",
    )


class _Check:
    """A model under check: its passes, and the comparison of what they give."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.decoder = hidden_state_decoder(model)
        config = model.config.get_text_config()
        embeddings = model.get_input_embeddings()
        self.device = model.get_output_embeddings().weight.device
        special = {
            value
            for part in (config, model.config)
            for name, value in vars(part).items()
            if name.endswith(("_token_id", "_token_index")) and isinstance(value, int)
        }
        vocabulary = getattr(embeddings, "num_embeddings", None) or config.vocab_size
        self.ids_of_words = torch.tensor([i for i in range(min(vocabulary, 512)) if i not in special] or [0])
        positions = getattr(config, "max_position_embeddings", None)
        self.tokens = min(_TOKENS, positions) if isinstance(positions, int) and positions > 0 else _TOKENS
        self.exact = not config._attn_implementation.startswith(_WITHOUT_FLOAT32)

    def ids(self, tokens: int) -> torch.Tensor:
        """Ids [tokens or the positions there are], drawn without touching any generator."""
        steps = torch.arange(min(tokens, self.tokens))
        return self.ids_of_words[(steps * 7919 + steps * steps * 31) % len(self.ids_of_words)].to(self.device)

    def hidden(
        self, ids_BT: torch.Tensor, *, start: int | None = None, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Last hidden states [B, T, D] float64, from position `start`, or of packed documents."""
        options: dict[str, Any] = {}
        if start is not None:
            options["position_ids"] = torch.arange(start, start + ids_BT.shape[1], device=self.device)[None]
        if lengths is not None:
            documents = Documents([lengths])
            options = decoder_inputs(documents, ids_BT.device)
        try:
            hidden_BTD = self.decoder(input_ids=ids_BT, use_cache=False, **options).last_hidden_state
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if lengths is None or MIXTURE in str(error):
                raise
            raise self.failed(error) from error
        if lengths is not None:
            require_attended(documents, self.model)
        return hidden_BTD.double()

    def require_same(self, found_BTD: torch.Tensor, expected_BTD: torch.Tensor, fault: str) -> None:
        """Refuse a difference of some position that rounding does not explain."""
        difference = (found_BTD - expected_BTD).norm(dim=-1)
        share = (difference / expected_BTD.norm(dim=-1).clamp_min(1e-12)).max().item()
        if not share <= (_BOUND if self.exact else _BOUND_ROUNDED):
            raise ValueError(f"{self.name} {fault} (hidden states differ by {share:.2g} of their size)")

    @property
    def reach(self) -> int:
        """Tokens that every layer sees at once, as far as the config tells."""
        config = self.model.config.get_text_config()
        names = ("sliding_window", "attention_chunk_size")
        reaches = [getattr(config, name, None) for name in names]
        return min((reach for reach in reaches if isinstance(reach, int) and reach > 1), default=_TOKENS)

    def failed(self, error: Exception) -> ValueError:
        """The error of a model that does not go through a short sequence as it is loaded."""
        mixed = self.model.config.get_text_config()._attn_implementation == NAME
        remedy = "train it without a mixture" if mixed else "try attention: eager, or take another model"
        return ValueError(f"{self.name} fails on a sequence of {_TOKENS} tokens ({error}); {remedy}")

    @property
    def name(self) -> str:
        """Class and type of the model."""
        return f"{type(self.model).__name__} (model_type {self.model.config.model_type!r})"


@contextlib.contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run the layers' own forward, whatever was put in its place: a shape of the check need not compile."""
    replaced = [
        (layer, layer.__dict__.pop("forward")) for layer in decoder_layers(model) if "forward" in vars(layer)
    ]
    try:
        yield
    finally:
        for layer, forward in replaced:
            layer.forward = forward


@contextlib.contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Compute in float32 for a while; of the repeated layers only the one that runs has weights in it.

    Values change by nothing, since float32 holds those of every smaller type.
    """
    layers = list(decoder_layers(model))
    inside = {id(module) for layer in layers for module in layer.modules()}
    handles = []
    for layer in layers:
        casts: list = []
        handles.append(
            layer.register_forward_pre_hook(
                lambda layer, args, casts=casts: casts.extend(_cast(layer.modules())), prepend=True
            )
        )
        handles.append(
            layer.register_forward_hook(
                lambda layer, args, output, casts=casts: _restore(casts), always_call=True
            )
        )
    outside = _cast(module for module in model.modules() if id(module) not in inside)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        _restore(outside)


def _is_rounded(model: nn.Module) -> bool:
    return any(tensor.dtype in _ROUNDED for tensor in model.parameters())


_Casts = list[tuple[nn.Module, str, torch.Tensor]]


def _cast(modules: Any) -> _Casts:
    casts: _Casts = []
    made: dict[int, Any] = {}
    for module in modules:
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is None or tensor.dtype not in _ROUNDED:
                    continue
                if id(tensor) not in made:
                    cast = tensor.detach().float()
                    made[id(tensor)] = nn.Parameter(cast, False) if store is module._parameters else cast
                casts.append((module, name, tensor))
                store[name] = made[id(tensor)]
    return casts


def _restore(casts: _Casts) -> None:
    for module, name, tensor in casts:
        store = module._parameters if name in module._parameters else module._buffers
        store[name] = tensor
    casts.clear()
