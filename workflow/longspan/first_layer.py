"""Queries and keys of a causal LM's first layer, and LongAttn's statistics of them (arXiv 2502.16860).

Any architecture of transformers that goes through its `AttentionInterface` serves: a function registered
there is handed the rotated queries and keys, and ends the forward pass, so that nothing behind the first
layer's projections is computed, and none of it need be read from disk.

Shape suffixes: B windows, H query heads, K key heads, L tokens, D head dimension.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import nn
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PreTrainedModel

from longspan.attention_stats import attention_variance, dependency_strength, far_attention_sums
from longspan.rope import set_rope_theta

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

_CAPTURE = "longspan_capture"
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:\w*embed\w*|wte|wpe|tok_emb\w*)(?:\.|$)")


@dataclass(frozen=True)
class QueriesKeys:
    """What the first layer's causal softmax sees: q [B, H, L, D] and k [B, K, L, D] after RoPE.

    Its scores are ``softcap * tanh(q @ k.mT * scale / softcap)``, without a softcap ``q @ k.mT * scale``.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    softcap: float | None


class FirstLayer:
    """The first layer of a causal LM, up to its rotated queries and keys."""

    def __init__(self, model: PreTrainedModel):
        """Wrap any causal LM of transformers; its other layers are neither run nor changed."""
        self.model = model
        self.max_positions: int | None = getattr(
            model.config.get_text_config(), "max_position_embeddings", None
        )

    @torch.no_grad()
    def queries_keys(self, input_ids_BL: torch.Tensor) -> QueriesKeys:
        """Run embedding, input norm, projections and RoPE for a batch of windows of equal length.

        Raises:
            ValueError: a window longer than the position table, a sliding or chunked first layer that
                does not reach over the whole window, a first layer without queries and keys, or one
                whose softmax is more than that of the scores (attention sinks, position biases).
        """
        if input_ids_BL.ndim != 2:
            raise ValueError(f"input_ids must be [windows, tokens], got {tuple(input_ids_BL.shape)}")
        num_tokens = input_ids_BL.shape[1]
        if self.max_positions is not None and num_tokens > self.max_positions:
            raise ValueError(
                f"a window of {num_tokens} tokens is longer than the position table of {self._name}, "
                f"max_position_embeddings = {self.max_positions}"
            )
        config = self.model.config
        before = config._attn_implementation
        config._attn_implementation = _CAPTURE
        try:
            self.model.base_model(input_ids=input_ids_BL, use_cache=False)
        except _Captured as captured:
            self._refuse_other_attention(captured, num_tokens)
            return captured.queries_keys
        finally:
            config._attn_implementation = before
        raise ValueError(
            f"the first layer of {self._name} has no queries and keys that transformers' attention "
            "interface hands out: LongAttn needs a softmax attention layer there"
        )

    @property
    def _name(self) -> str:
        return f"{type(self.model).__name__} ({self.model.config.model_type})"

    def _refuse_other_attention(self, captured: "_Captured", num_tokens: int) -> None:
        module, options = captured.module, captured.options
        layer = getattr(module, "layer_idx", 0)
        if layer:
            raise ValueError(
                f"the first layer of {self._name} has no queries and keys; its first attention is in layer "
                f"{layer}"
            )
        if not getattr(module, "is_causal", True):
            raise ValueError(f"the first layer of {self._name} is not causal")
        for option in ("s_aux", "position_bias"):
            if options.get(option) is not None:
                raise ValueError(
                    f"the first layer of {self._name} adds {option} to its softmax, which the sums leave out"
                )
        config = self.model.config.get_text_config()
        kind = (getattr(config, "layer_types", None) or [None])[0]
        reach = options.get("sliding_window")
        if kind == "sliding_attention":
            reach = reach or config.sliding_window
        elif kind == "chunked_attention":
            reach = config.attention_chunk_size
        if reach is not None and reach < num_tokens:
            raise ValueError(
                f"the first layer of {self._name} has a sliding window of {reach} tokens, shorter than the "
                f"window of {num_tokens}: its far attention is not LongAttn's; take another scoring model"
            )


def load_first_layer(
    model_dir: str | Path,
    *,
    dtype: torch.dtype | str,
    device: torch.device | str = "cpu",
    rope_theta: float | None = None,
) -> FirstLayer:
    """Load what a checkpoint's first layer needs to compute its queries and keys, and nothing else.

    The model is built with one layer and without memory; a module's tensors are read when the forward
    pass first enters it, which it does for the embedding, the input norm and the projections alone. Files
    of a sharded checkpoint that hold none of them may be missing (see `first_layer_files`).

    Args:
        model_dir: a Hugging Face folder: config.json and safetensors, single or sharded with an index.
        dtype: dtype of parameters and computation, ``torch.bfloat16`` or its name.
        device: where to run.
        rope_theta: base of the rotary embedding instead of the checkpoint's (θ).

    Raises:
        ValueError: no safetensors, a needed tensor or file missing (named), θ for a model without RoPE,
            and whatever `FirstLayer.queries_keys` refuses for a shortest window.
    """
    model_dir = Path(model_dir)
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    config = _one_layer_config(AutoConfig.from_pretrained(model_dir), rope_theta)
    # buffers are made for real: a rotary embedding's frequencies are in no checkpoint
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    checkpoint = _Checkpoint(model_dir)
    prefix = f"{model.base_model_prefix}."
    for module_name, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
        if any(True for _ in module.parameters(recurse=False)):
            _read_on_entry(module, module_name.removeprefix(prefix), checkpoint, dtype, torch.device(device))
    first_layer = FirstLayer(model)
    first_layer.queries_keys(torch.zeros(1, 1, dtype=torch.long, device=device))
    return first_layer


def first_layer_files(index: Mapping) -> list[str]:
    """Files of a sharded checkpoint that hold the embedding or the first layer, sorted.

    Args:
        index: the parsed ``model.safetensors.index.json``.

    Raises:
        ValueError: an index without an embedding or without a layer 0.
    """
    layer_zero, embedding = set(), set()
    for name, file in index["weight_map"].items():
        layer = _LAYER.search(name)
        if layer is not None:
            if int(layer[1]) == 0:
                layer_zero.add(file)
        elif _EMBEDDING.search(name):
            embedding.add(file)
    for what, files in (("a layer 0", layer_zero), ("an embedding", embedding)):
        if not files:
            raise ValueError(
                f"the checkpoint's index names no tensor of {what}; first: {min(index['weight_map'])}"
            )
    return sorted(layer_zero | embedding)


def window_statistics(
    first_layer: FirstLayer, input_ids_BL: torch.Tensor, *, window_ids: Sequence[str] | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """LongAttn's statistics of each window: per head, then averaged over heads.

    Args:
        first_layer: the scoring model's first layer.
        input_ids_BL: token ids of windows of equal length, on the model's device.
        window_ids: names of the windows, for errors; None names them by row.

    Returns:
        ``(strength, variance_block, variance_matrix)``, each float64 [B]; see `longspan.attention_stats`.

    Raises:
        ValueError: what `FirstLayer.queries_keys` refuses, a window of fewer than 4 tokens, or sums that
            are not finite (window and head named).
    """
    num_tokens = input_ids_BL.shape[-1]
    layer = first_layer.queries_keys(input_ids_BL)
    sum_p, sum_p2 = far_attention_sums(layer.q, layer.k, scale=layer.scale, softcap=layer.softcap)
    bad = (~(sum_p.isfinite() & sum_p2.isfinite())).nonzero()
    if len(bad):
        row, head = bad[0].tolist()
        window = f"row {row}" if window_ids is None else window_ids[row]
        raise ValueError(
            f"attention scores are not finite in window {window}, head {head} ({len(bad)} of {sum_p.numel()} "
            f"heads in this batch); the model runs in {layer.q.dtype}: try bfloat16 or float32"
        )
    per_head = (
        dependency_strength(sum_p, num_tokens),
        attention_variance(sum_p, sum_p2, num_tokens, "block"),
        attention_variance(sum_p, sum_p2, num_tokens, "matrix"),
    )
    strength, variance_block, variance_matrix = (x_BH.mean(1) for x_BH in per_head)
    return strength, variance_block, variance_matrix


class _Captured(Exception):  # noqa: N818 - it ends the forward pass, it is no error
    def __init__(self, module: nn.Module, queries_keys: QueriesKeys, options: dict):
        self.module = module
        self.queries_keys = queries_keys
        self.options = options


def _capture(module, query, key, value, attention_mask, scaling=None, softcap=None, **options):
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    raise _Captured(module, QueriesKeys(query, key, scale, softcap), options)


AttentionInterface.register(_CAPTURE, _capture)


class _Checkpoint:
    """The tensors of a Hugging Face folder by name, each read when asked for."""

    def __init__(self, model_dir: Path):
        self.model_dir = model_dir
        index, single = model_dir / INDEX_NAME, model_dir / SINGLE_NAME
        if index.is_file():
            self.file_of: dict[str, str] = json.loads(index.read_text())["weight_map"]
        elif single.is_file():
            with safe_open(single, framework="pt") as tensors:
                self.file_of = dict.fromkeys(tensors.keys(), SINGLE_NAME)
        else:
            raise ValueError(f"{model_dir} holds neither {INDEX_NAME} nor {SINGLE_NAME}")

    def read(self, name: str) -> torch.Tensor:
        # a checkpoint may have been saved with or without the head, or inside a larger model
        names = [stored for stored in self.file_of if stored == name or stored.endswith(f".{name}")]
        if len(names) != 1:
            found = "no tensor" if not names else f"{len(names)} tensors"
            raise ValueError(f"{self.model_dir} holds {found} for the first layer's {name}")
        path = self.model_dir / self.file_of[names[0]]
        if not path.is_file():
            raise ValueError(
                f"{path} is missing, and the first layer's {names[0]} is in it: fetch the files that "
                "first_layer_files names"
            )
        with safe_open(path, framework="pt") as tensors:
            return tensors.get_tensor(names[0])


def _read_on_entry(
    module: nn.Module, module_name: str, checkpoint: _Checkpoint, dtype: torch.dtype, device: torch.device
) -> None:
    def read(*_):
        for name, empty in list(module.named_parameters(recurse=False)):
            tensor = checkpoint.read(f"{module_name}.{name}").to(device=device, dtype=dtype)
            if tensor.shape != empty.shape:
                raise ValueError(
                    f"{checkpoint.model_dir}: {module_name}.{name} is {tuple(tensor.shape)}, the config says "
                    f"{tuple(empty.shape)}"
                )
            setattr(module, name, nn.Parameter(tensor, requires_grad=False))
        handle.remove()

    handle = module.register_forward_pre_hook(read)


def _one_layer_config(config, rope_theta: float | None):
    config = copy.deepcopy(config)
    text_config = config.get_text_config()
    text_config.num_hidden_layers = 1
    if getattr(text_config, "layer_types", None):
        text_config.layer_types = text_config.layer_types[:1]
    if rope_theta is not None:
        set_rope_theta(config, rope_theta)
    return config
