"""The output layer of a Hugging Face causal language model, apart from its decoder.

Shape suffixes: B sequences, T tokens, D hidden size, V vocabulary.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from longspan.models.exactness import require_causal
from longspan.models.layers import hidden_state_decoder
from longspan.models.token_nll import exact_logits, token_nll

# model_type: factor on the logits, from the config. Every other model type has none, which split_model
# verifies.
LOGIT_SCALES: dict[str, Callable[..., float]] = {
    "cohere": lambda config: config.logit_scale,
    "cohere2": lambda config: config.logit_scale,
    "cohere2_moe": lambda config: config.logit_scale,
    "falcon_h1": lambda config: config.lm_head_multiplier,
    "granite": lambda config: 1 / config.logits_scaling,
    "granite_swa": lambda config: 1 / config.logits_scaling,
    "granitemoe": lambda config: 1 / config.logits_scaling,
    "granitemoe_swa": lambda config: 1 / config.logits_scaling,
    "granitemoehybrid": lambda config: 1 / config.logits_scaling,
    "granitemoeshared": lambda config: 1 / config.logits_scaling,
    "hyperclovax": lambda config: config.logits_scaling,
    "minicpm3": lambda config: 1 / config.logits_scaling,
}

# Largest difference of logits, relative to the largest logit, that rounding explains.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-3}
_verified: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@dataclass(frozen=True)
class OutputLayer:
    """What turns last hidden states into logits: ``cap(logit_scale * (hidden @ weight.T + bias))``.

    Attributes:
        weight: [V, D].
        bias: [V] or None.
        logit_scale: factor on the logits.
        softcap: bound of the logits, applied last as softcap * tanh(logits / softcap), or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    logit_scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, model: nn.Module) -> "OutputLayer":
        """Read the output layer of a causal language model; its parameters are shared, not copied.

        Raises:
            ValueError: the model's head is not a plain linear layer; the message names it.
        """
        head = model.get_output_embeddings()
        if type(head) is not nn.Linear:
            raise ValueError(
                f"{type(model).__name__} has the output layer {type(head).__name__}, not a plain "
                "torch.nn.Linear; merge adapters or quantised heads before scoring or training"
            )
        config = model.config.get_text_config()
        scale = LOGIT_SCALES.get(config.model_type)
        return cls(
            weight=head.weight,
            bias=head.bias,
            logit_scale=1.0 if scale is None else float(scale(config)),
            softcap=getattr(config, "final_logit_softcapping", None),
        )

    def nll(self, hidden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the NLL (nats) of each target; see :func:`longspan.token_nll.token_nll`."""
        return token_nll(
            hidden,
            self.weight,
            target,
            bias=self.bias,
            logit_scale=self.logit_scale,
            softcap=self.softcap,
        )

    def exact_logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Return all logits [N, V] of a few hidden states, float32 (float64 for a float64 weight)."""
        hidden_ND = hidden_ND.to(self.weight.dtype)
        return exact_logits(hidden_ND, self.weight, self.bias, self.logit_scale, self.softcap)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return all logits [..., V] of a few hidden states; for checks, not for long sequences."""
        logits = self.logit_scale * nn.functional.linear(hidden, self.weight, self.bias)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def split_model(model: nn.Module) -> tuple[nn.Module, OutputLayer]:
    """Split a causal language model into its decoder and its output layer.

    The first call for a model verifies on eight tokens that the two together give the model's own logits, and
    by :func:`longspan.models.exactness.require_causal` that these depend on nothing but the tokens before.

    Args:
        model: any Hugging Face ``...ForCausalLM``, not wrapped.

    Returns:
        decoder: the module whose ``last_hidden_state`` the output layer takes.
        output_layer: the rest.

    Raises:
        ValueError: the output layer does more than :class:`OutputLayer` knows, or the model is not causal;
            the message names it.
    """
    output_layer = OutputLayer.of(model)
    decoder = hidden_state_decoder(model)
    if model not in _verified:
        # Weights on the meta device are another process's, which verifies them.
        if output_layer.weight.device.type != "meta":
            _verify(model, decoder, output_layer)
            require_causal(model)
        _verified.add(model)
    return decoder, output_layer


@torch.no_grad()
def _verify(model: nn.Module, decoder: nn.Module, output_layer: OutputLayer) -> None:
    name = f"{type(model).__name__} (model_type {model.config.model_type!r})"
    seen = []
    hook = decoder.register_forward_hook(lambda module, args, output: seen.append(output))
    device = output_layer.weight.device
    input_ids_BT = torch.arange(8, device=device).remainder(output_layer.weight.shape[0]).view(1, 8)
    try:
        logits_BTV = model(input_ids=input_ids_BT, use_cache=False).logits.double()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        attention = model.config.get_text_config()._attn_implementation
        raise ValueError(f"{name} fails on eight tokens with attention {attention!r}: {error}") from error
    finally:
        hook.remove()
    hidden_BTD = getattr(seen[0], "last_hidden_state", None) if seen else None
    if hidden_BTD is None:
        raise ValueError(f"{name}: its decoder {type(decoder).__name__} returned no last_hidden_state")
    if hidden_BTD.shape[-1] != output_layer.weight.shape[1]:
        raise ValueError(
            f"{name}: its decoder gives hidden states of {hidden_BTD.shape[-1]}, its output layer takes "
            f"{output_layer.weight.shape[1]}: something is between them; use another model"
        )
    if not logits_BTV.isfinite().all():
        raise ValueError(
            f"{name}: its logits are not finite in {output_layer.weight.dtype}; check its weights, or try "
            "dtype float32"
        )
    difference = (output_layer.logits(hidden_BTD).double() - logits_BTV).abs().max().item()
    bound = _TOLERANCE.get(output_layer.weight.dtype, 3e-2) * max(logits_BTV.abs().max().item(), 1e-3)
    if not difference <= bound:
        raise ValueError(
            f"{name}: decoder and output layer differ from the model's own logits by {difference:.3g} "
            f"(rounding explains {bound:.3g}): its head does more than scale, bias and softcap. Add its "
            f"factor to LOGIT_SCALES in {__name__}, or use another model"
        )
