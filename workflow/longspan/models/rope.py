"""Rotary position embeddings: their base, and tables that depend on a sequence's length."""

from typing import Any

from torch import nn

# Types whose angles at a position are the same in sequences of any length.
_OF_ANY_LENGTH = ("default", "linear", "llama3", "yarn", "proportional")
_LOCAL = ("sliding", "chunked", "local")


def rope_kinds(config: Any) -> dict[str, dict]:
    """Parameters of a config's rotary embedding by kind of layer; "all" where layers share them."""
    rope = getattr(config.get_text_config(), "rope_parameters", None)
    if not rope:
        return {}
    if not all(isinstance(value, dict) or value is None for value in rope.values()):
        return {"all": rope}
    # Some models (Gemma 3) have one set of parameters for each kind of layer.
    return {kind: parameters for kind, parameters in rope.items() if parameters}


def set_rope_theta(config: Any, rope_theta: float) -> None:
    """Set the base (θ) of a transformers config's rotary embedding, in place.

    Where kinds of layers have bases of their own, those of a sliding window keep theirs: no distance in them
    grows with the sequence.

    Raises:
        ValueError: a model without rotary embedding, or with none outside sliding windows.
    """
    kinds = rope_kinds(config)
    if not kinds:
        raise ValueError(f"rope_theta is set, but {config.model_type} has no rotary embedding")
    wide = [kinds[kind] for kind in kinds if not any(part in kind for part in _LOCAL)]
    if not wide:
        raise ValueError(
            f"rope_theta is set, but {config.model_type} has rotary embeddings in sliding windows alone"
        )
    for parameters in wide:
        parameters["rope_theta"] = float(rope_theta)


def depends_on_length(config: Any) -> bool:
    """Whether the angle of a position may differ between a short sequence and a long one."""
    kinds = rope_kinds(config).values()
    return any(parameters.get("rope_type", "default") not in _OF_ANY_LENGTH for parameters in kinds)


def tokens_of_one_table(config: Any) -> int | None:
    """Up to how many tokens all sequences have the same angles; None if of any number.

    Dynamic NTK scaling and LongRoPE change them beyond the length that the model was first trained at; of
    a type that is not known here, no two lengths are taken to be alike.
    """
    bounds = []
    text = config.get_text_config()
    for parameters in rope_kinds(config).values():
        rope_type = parameters.get("rope_type", "default")
        if rope_type == "longrope":
            bounds.append(parameters["original_max_position_embeddings"])
        elif rope_type == "dynamic":
            bounds.append(text.max_position_embeddings)
        elif rope_type not in _OF_ANY_LENGTH:
            bounds.append(0)
    return min(bounds, default=None)


def has_one_table(config: Any, tokens: int) -> bool:
    """Whether sequences of up to so many tokens have the same angles, so each begins like a longer one."""
    bound = tokens_of_one_table(config)
    return bound is None or tokens <= bound


def forget_lengths(model: nn.Module) -> None:
    """Let each pass begin with the table of short sequences, so that none depends on passes before it.

    transformers' dynamic NTK scaling keeps the base of the longest sequence until one comes that is within
    the original length.
    """
    for module in model.modules():
        types = getattr(module, "rope_type", None)
        types = list(types.values()) if isinstance(types, dict) else [types]
        if hasattr(module, "original_max_seq_len") and any("dynamic" in str(kind) for kind in types):
            module.register_forward_pre_hook(_begin_anew)


def _begin_anew(module: nn.Module, *_: Any) -> None:
    for name in list(vars(module)) + list(module._buffers):
        if name.endswith("original_inv_freq"):
            current = name.replace("original_inv_freq", "inv_freq")
            device = getattr(module, current).device
            module.register_buffer(current, getattr(module, name).to(device), persistent=False)
        elif name.endswith("max_seq_len_cached"):
            setattr(module, name, module.original_max_seq_len)
