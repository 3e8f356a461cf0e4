"""config.json of a model, as far as it can be trusted: an object of JSON, with sizes that a model can have.

Imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path

# Far above every model that there is; what is above them would be built for days, or take all memory.
_LARGEST = {
    "vocab_size": 2**26,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "intermediate_size", "n_inner"), 2**24),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 2**14),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "head_dim"), 2**16),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 2**16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 2**40),
}


def read_config(path: Path) -> dict:
    """The content of a config.json.

    Raises:
        ValueError: it is no JSON object, or a size in it is one that no model has.
        OSError: it cannot be read.
    """
    try:
        config = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON ({' '.join(str(error).split())}); fetch or write it anew"
        ) from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no object of JSON but a {type(config).__name__}; fetch it anew")
    _require_sizes(path, config)
    return config


def refuse_own_code(config: Mapping, of: object) -> None:
    """Refuse a model that only loads by running code that comes with it.

    Args:
        config: content of its config.json.
        of: where the model is from, for the error.

    Raises:
        ValueError: it names code of its own, and transformers does not know its type.
    """
    if "auto_map" not in config:
        return
    from transformers import CONFIG_MAPPING

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"the model of {of} needs code of its own (auto_map in its config.json, model_type "
            f"{model_type!r}), and no code of a model is run; take a model of a type that transformers has"
        )


def _require_sizes(path: Path, values: Mapping) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _require_sizes(path, value)
        elif name in _LARGEST and isinstance(value, int | float) and not 0 <= value <= _LARGEST[name]:
            shown = repr(value) if isinstance(value, float) or abs(value) < 10**30 else "a longer number"
            raise ValueError(
                f"{path} says {name} {shown}, and no model has such a one (0 to {_LARGEST[name]:,}); "
                "correct it, or fetch it anew"
            )
