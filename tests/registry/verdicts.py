"""Whether each thing that is done with a model is right, against transformers' own logits and gradients.

Shape suffixes: B sequences, H heads, T tokens, N = T - 1 entries.
"""

import copy
import functools
import math
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tiny_types import random_ids, tiny_model
from torch import nn
from transformers import AutoModelForCausalLM

from longspan.models.document_attention import NAME
from longspan.models.layers import checkpoint_layers, compile_layers, naming_compiled_layers
from longspan.models.loading import load_model
from longspan.scoring.decoder_attention import DecoderAttention
from longspan.scoring.first_layer import FirstLayer, load_first_layer
from longspan.scoring.nll import long_context_nll, short_context_nll
from longspan.weighting.loss import WeightedLM

RIGHT, REFUSED, WRONG, CRASH, UNCLEAR = "right", "refused", "wrong", "crash", "unclear"
VERDICTS = (RIGHT, REFUSED, WRONG, CRASH, UNCLEAR)
ASPECTS = ("scoring", "first layer", "layers", "training", "recomputed", "compiled", "documents")
QUICK_ASPECTS = tuple(aspect for aspect in ASPECTS if aspect != "compiled")
_NATS = 5e-4  # between two ways through a model in float32
_GRADIENT = 2e-3  # of the gradient's norm, for each parameter


class Refused(Exception):  # noqa: N818 - an outcome, no fault
    """The model was refused by name."""


class Wrong(Exception):  # noqa: N818
    """A number that transformers does not give."""


class Unclear(Exception):  # noqa: N818
    """No verdict: transformers itself fails, or a refusal that does not name the model."""


def verdicts_of(name: str, folder: Path, aspects: Collection[str]) -> dict[str, tuple[str, str]]:
    """Verdict and reason of each aspect of a type or variant.

    Args:
        name: one of EVERYTHING.
        folder: scratch, where the model is saved.
        aspects: of ASPECTS; training with compiled layers is slow.

    Raises:
        Exception: whatever transformers says that cannot make or run so small a model.
    """
    tiny_model(name).save_pretrained(folder)
    case = Case(folder)
    case.reference()(input_ids=random_ids(1, 8), use_cache=False)
    checks: dict[str, Callable[[Case], None]] = {
        "scoring": check_scoring,
        "first layer": check_first_layer,
        "layers": check_layers,
        "training": check_training,
        "recomputed": functools.partial(check_training, prepare=checkpoint_layers),
        "compiled": functools.partial(check_training, prepare=_compile),
        "documents": check_documents,
    }
    return {aspect: _verdict(check, case) for aspect, check in checks.items() if aspect in aspects}


def _verdict(check: Callable, case: "Case") -> tuple[str, str]:
    outcomes = {Refused: REFUSED, Wrong: WRONG, Unclear: UNCLEAR}
    try:
        check(case)
    except (Refused, Wrong, Unclear) as outcome:
        return outcomes[type(outcome)], str(outcome)
    except Exception as error:
        return CRASH, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return RIGHT, ""


def _compile(model: nn.Module) -> None:
    torch._dynamo.reset()
    # What inductor is given, without its kernels. Undecomposed (aot_eager), a backward pass can fail where
    # inductor's does not: it keeps strides that were only traced.
    compile_layers(model, backend="aot_eager_decomp_partition")


class Case:
    """A saved model, loaded as users load it and as transformers gives it."""

    def __init__(self, folder: Path):
        self.folder = folder
        plain = self.reference()
        self.names = {
            type(part).__name__ for part in plain.modules() if not type(part).__module__.startswith("torch")
        }
        self.names |= {plain.config.model_type, plain.config.get_text_config().model_type}

    def reference(self) -> nn.Module:
        """A model of transformers, by eager attention, that has seen nothing yet."""
        try:
            model = AutoModelForCausalLM.from_pretrained(self.folder, attn_implementation="eager")
        except ValueError:
            model = AutoModelForCausalLM.from_pretrained(self.folder)
        return model.eval()

    def loaded(self, attention: str = "sdpa") -> nn.Module:
        """The model as scoring and training load it; by eager where sdpa is none of its attentions."""
        with self.refusing():
            options = {"dtype": "float32", "rope_theta": None, "device": "cpu"}
            try:
                return load_model(self.folder, attention=attention, **options).eval()
            except ValueError as error:
                if attention != "sdpa" or "does not support" not in str(error):
                    raise
                return load_model(self.folder, attention="eager", **options).eval()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Tell a refusal that names the model from one that does not."""
        try:
            yield
        except ValueError as error:
            named = any(name in str(error) for name in self.names)
            raise (Refused if named else Unclear)(" ".join(str(error).split())) from error

    def own_nll(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """NLL [B, T - 1] by transformers' logits of a model that has seen nothing else."""
        with torch.no_grad():
            return _nll(self.reference()(input_ids=ids_BT, use_cache=False).logits, ids_BT)


def _nll(logits_BTV: torch.Tensor, ids_BT: torch.Tensor) -> torch.Tensor:
    logits_BVN = logits_BTV[:, :-1].float().transpose(1, 2)
    return nn.functional.cross_entropy(logits_BVN, ids_BT[:, 1:], reduction="none")


def _require_close(what: str, found: torch.Tensor, expected: torch.Tensor, bound: float = _NATS) -> None:
    if not expected.isfinite().all():
        raise Unclear(f"{what}: transformers' own numbers are not finite")
    if found.shape != expected.shape:
        raise Wrong(f"{what}: {tuple(found.shape)} instead of {tuple(expected.shape)}")
    difference = (found.double() - expected.double()).abs().max().item()
    if not difference <= bound:
        raise Wrong(f"{what} differs by {difference:.2g}")


def check_scoring(case: Case) -> None:
    """Short and long NLL, before and after longer sequences, of a model that sees no later token."""
    ids_BT = random_ids(2, 48)
    plans = [(16, 8), (32, 8), (48, 8), (32, 8), (16, 8)]  # base length and stride
    model = case.loaded()
    found = []
    with case.refusing():
        for base_length, base_stride in plans:
            if base_length == ids_BT.shape[1]:
                found.append(long_context_nll(model, ids_BT))
            else:
                found.append(
                    short_context_nll(model, ids_BT, base_length=base_length, base_stride=base_stride)
                )
    _require_causal(case, ids_BT)
    for (base_length, base_stride), nll_BN in zip(plans, found, strict=True):
        expected_BN = torch.full_like(nll_BN, torch.nan)
        for start in range(0, ids_BT.shape[1] - base_length + 1, base_stride):
            scored = slice(
                start if start == 0 else start + base_length - base_stride - 1, start + base_length - 1
            )
            window_BN = case.own_nll(ids_BT[:, start : start + base_length])
            expected_BN[:, scored] = window_BN[:, scored.start - start :]
        _require_close(f"NLL in context {base_length}", nll_BN, expected_BN)


def _require_causal(case: Case, ids_BT: torch.Tensor) -> None:
    other_BT = ids_BT.clone()
    other_BT[:, 30:] = random_ids(*other_BT[:, 30:].shape, seed=1)
    first, second = (case.own_nll(ids)[:, :29] for ids in (ids_BT, other_BT))
    _require_close("what was scored sees later tokens: NLL", first, second)


def check_first_layer(case: Case) -> None:
    """The softmax of queries and keys: of the model, in pieces, of its folder, in short and long windows."""
    refusals = []
    for tokens in (16, 40):
        ids_BT = random_ids(2, tokens)
        try:
            with case.refusing():
                whole = FirstLayer(case.reference()).queries_keys(ids_BT)
        except Refused as refused:
            refusals.append(refused)
            continue
        expected_BHTT = _own_attentions(case.reference(), ids_BT)[0]
        _require_close("attention", _softmax(whole), expected_BHTT, 1e-4)
        with case.refusing():
            pieces = FirstLayer(case.reference(), tokens_at_once=2 * 7).queries_keys(ids_BT)
        _require_close("attention in pieces", _softmax(pieces), expected_BHTT, 1e-4)
        with case.refusing():
            saved = load_first_layer(case.folder, dtype="float32").queries_keys(ids_BT)
        _require_close("attention of the folder", _softmax(saved), expected_BHTT, 1e-4)
    if len(refusals) == 2:
        raise refusals[0]


def check_layers(case: Case) -> None:
    """The softmax of every layer's queries and keys, as the whole model comes by them."""
    refusals = []
    for tokens in (16, 40):
        ids_BT = random_ids(2, tokens)
        found: dict[int, torch.Tensor] = {}
        try:
            with case.refusing():
                attention = DecoderAttention(case.reference(), attention="eager")
                attention.visit(
                    ids_BT, lambda layer, seen, found=found: found.update({layer: _softmax(seen)})
                )
        except Refused as refused:
            refusals.append(refused)
            continue
        expected = _own_attentions(case.reference(), ids_BT)
        if len(found) != len(expected):
            raise Wrong(f"{len(found)} layers instead of {len(expected)}")
        for (layer, ours_BHTT), theirs_BHTT in zip(found.items(), expected, strict=True):
            _require_close(f"attention of layer {layer}", ours_BHTT, theirs_BHTT, 1e-4)
    if len(refusals) == 2:
        raise refusals[0]


def _softmax(layer) -> torch.Tensor:
    if layer.q.shape[2] != layer.k.shape[2] or layer.q.shape[3] != layer.k.shape[3]:
        raise Wrong(f"queries {tuple(layer.q.shape)} and keys {tuple(layer.k.shape)}")
    k_BHTD = layer.k.repeat_interleave(layer.q.shape[1] // layer.k.shape[1], 1)
    scores = (layer.q @ k_BHTD.mT * layer.scale).float()
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1)


def _own_attentions(model: nn.Module, ids_BT: torch.Tensor) -> list[torch.Tensor]:
    """Weights [B, H, T, T] of each attention that the model computes itself."""
    seen = []

    def noting(function):
        @functools.wraps(function)
        def attend(*arguments, **options):
            output = function(*arguments, **options)
            seen.append(output[1])
            return output

        return attend

    modules = {sys.modules[type(part).__module__] for part in model.modules()}
    own = [module for module in modules if hasattr(module, "eager_attention_forward")]
    kept = [module.eager_attention_forward for module in own]
    try:
        for module in own:
            module.eager_attention_forward = noting(module.eager_attention_forward)
        with torch.no_grad():
            output = model(input_ids=ids_BT, use_cache=False, output_attentions=True)
    finally:
        for module, function in zip(own, kept, strict=True):
            module.eager_attention_forward = function
    weights = seen or list(getattr(output, "attentions", None) or [None])
    if weights[0] is None:
        raise Unclear("transformers tells no attention weights of the first layer")
    return weights


def check_training(case: Case, prepare: Callable[[nn.Module], None] | None = None) -> None:
    """Loss and gradients under weights that differ from token to token."""
    ids_BT = random_ids(2, 40)
    weights_BN = 0.5 + torch.rand(2, 39, generator=torch.Generator().manual_seed(3))
    model = case.loaded().train()
    with case.refusing():
        weighted = WeightedLM(model)
        if prepare is not None:
            prepare(model)
        with naming_compiled_layers(model):
            output = weighted(ids_BT, token_weights=weights_BN)
            output["loss"].backward()
    expected = case.reference().train()
    nll_BN = _nll(expected(input_ids=ids_BT, use_cache=False).logits, ids_BT)
    ((weights_BN * nll_BN).sum() / nll_BN.numel()).backward()
    _require_causal(case, random_ids(2, 48))
    _require_close("NLL", output["nll"], nll_BN.detach())
    _require_same_gradients(model, expected)


def _require_same_gradients(model: nn.Module, expected: nn.Module) -> None:
    theirs = {name: parameter.grad for name, parameter in expected.named_parameters()}
    total = math.sqrt(sum(grad.square().sum().item() for grad in theirs.values() if grad is not None))
    if not 0 < total < math.inf:
        raise Unclear(f"transformers' own gradient has the norm {total}")
    for name, parameter in model.named_parameters():
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        other = torch.zeros_like(parameter) if theirs[name] is None else theirs[name]
        difference = (ours - other).norm().item()
        if not difference <= _GRADIENT * total:
            raise Wrong(f"the gradient of {name} differs by {difference / total:.2g} of the norm")


def check_documents(case: Case) -> None:
    """Packed documents, within and beyond sliding windows and tables, each as if alone; a window as well."""
    window_BT = random_ids(1, 48)
    model = case.loaded(NAME)
    with case.refusing():
        weighted = WeightedLM(model)
        window = weighted(window_BT, token_weights=torch.ones(1, 47))["nll"]
    refusals = []
    for lengths in ([5, 12, 7, 11], [9, 39]):
        try:
            _check_packed(case, lengths)
        except Refused as refused:
            refusals.append(refused)
    if len(refusals) == 2:
        raise refusals[0]
    _require_close("NLL of a window", window, case.own_nll(window_BT))


def _check_packed(case: Case, lengths: list[int]) -> None:
    ids_BT = random_ids(1, sum(lengths))
    model = case.loaded(NAME).train()
    starts_N = torch.zeros(1, sum(lengths) - 1, dtype=torch.bool)
    starts_N[0, torch.tensor(lengths).cumsum(0)[:-1] - 1] = True
    labels_BT = ids_BT.clone()
    labels_BT[:, 1:].masked_fill_(starts_N, -100)
    counted = int((~starts_N).sum())
    with case.refusing():
        output = WeightedLM(model)(
            ids_BT,
            labels_BT,
            token_weights=torch.ones(1, sum(lengths) - 1),
            document_lengths=[lengths],
            num_items_in_batch=counted,
        )
        output["loss"].backward()
    expected = case.reference().train()
    parts = []
    for document_1T in ids_BT.split(lengths, dim=1):
        # Each by a model that has seen no other one.
        alone = copy.deepcopy(expected)
        alone.zero_grad()
        nll_1N = _nll(alone(input_ids=document_1T, use_cache=False).logits, document_1T)
        (nll_1N.sum() / counted).backward()
        for ours, theirs in zip(expected.parameters(), alone.parameters(), strict=True):
            if theirs.grad is not None:
                ours.grad = theirs.grad if ours.grad is None else ours.grad + theirs.grad
        parts.append(nll_1N.detach())
    _require_close(f"NLL of documents of {lengths}", output["nll"][~starts_N], torch.cat(parts, 1)[0])
    _require_same_gradients(model, expected)
