"""Loading a causal language model for scoring or training."""

from pathlib import Path

from longspan.models.folders import require_intact_weights
from longspan.models.rope import forget_lengths, set_rope_theta


def pick_device() -> str:
    """Name the device to run on: "cuda" where there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(
    folder: Path | str,
    *,
    dtype: str,
    attention: str,
    rope_theta: float | None,
    device: str,
    compile_layers: bool = False,
):
    """Load a causal LM for scoring or training.

    Args:
        folder: a Hugging Face model folder.
        dtype: name of a torch dtype.
        attention: attention implementation of transformers.
        rope_theta: base of the rotary embedding (θ), or None for the model's own.
        device: where it goes. On "meta" no weights are read, but its buffers are there, for a process that
            gets its part of the weights from another.
        compile_layers: fuse each decoder layer by torch.compile.

    Raises:
        ValueError: θ for a model without rotary embedding, weights that are not those of the folder's
            manifest, or an attention that is not installed or not the model's.
    """
    if device != "meta":
        require_intact_weights(Path(folder))
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    from longspan.models import layers as decoder_layers
    from longspan.models.attention_kernels import PACKED_DOCUMENTS

    transformers_logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if rope_theta is not None:
        set_rope_theta(config, rope_theta)
    options = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    try:
        if device == "meta":
            with init_empty_weights(include_buffers=False):
                model = AutoModelForCausalLM.from_config(config, trust_remote_code=False, **options)
            model.tie_weights()
        else:
            model = AutoModelForCausalLM.from_pretrained(
                folder, config=config, trust_remote_code=False, **options
            ).to(device)
    except KeyError as error:
        # Some classes look their attention up in a table of their own.
        if attention not in str(error):
            raise
        mixed = "train it without a mixture" if attention == PACKED_DOCUMENTS else "set attention: eager"
        raise ValueError(f"{config.model_type} has no attention '{attention}'; {mixed}") from error
    except ImportError as error:
        raise ValueError(f"attention '{attention}': {error}; install it, or set attention: sdpa") from error
    forget_lengths(model)
    if compile_layers:
        decoder_layers.compile_layers(model)
    return model
