"""Queries and keys of a causal LM's first layer, and LongAttn's statistics of them (arXiv 2502.16860).

Any architecture of transformers that goes through its `AttentionInterface` serves: a function registered
there is handed the rotated queries and keys, and ends the forward pass, so that nothing behind the first
layer's projections is computed, and none of it need be read from disk.

Shape suffixes: B windows, H query heads, K key heads, L tokens, D head dimension.
"""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
)

from longspan.models import layers as decoder_layers
from longspan.models.checkpoint import Checkpoint
from longspan.models.folders import require_intact_weights
from longspan.models.rope import depends_on_length, forget_lengths, set_rope_theta
from longspan.scoring.attention_statistics import attention_variance, dependency_strength, far_attention_sums
from longspan.scoring.queries_keys import (
    AttentionCall,
    QueriesKeys,
    check_ids,
    forget_masks,
    layer_name,
    model_name,
    noted_mask,
    probability_bound,
)

_CAPTURE = "longspan_capture"
_CAPTURE_MASKED = "longspan_capture_masked"  # the same, with the mask that eager attention has


class FirstLayer:
    """The first layer of a causal LM, up to its rotated queries and keys."""

    def __init__(self, model: PreTrainedModel, tokens_at_once: int = 8192):
        """Wrap any causal LM of transformers; its other layers are neither run nor changed.

        ``tokens_at_once`` tokens go through embedding, norm, projections and RoPE at a time, so that
        their intermediate results stay small; the queries and keys of whole windows are kept.
        """
        self.model = model
        self.tokens_at_once = tokens_at_once
        self.max_positions: int | None = getattr(
            model.config.get_text_config(), "max_position_embeddings", None
        )
        self._decoder = decoder_layers.hidden_state_decoder(model)
        self._in_pieces = "position_ids" in inspect.signature(
            self._decoder.forward
        ).parameters and not depends_on_length(model.config)
        self._checked = False

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
        batch, num_tokens = input_ids_BL.shape
        if self.max_positions is not None and num_tokens > self.max_positions:
            raise ValueError(
                f"a window of {num_tokens} tokens is longer than the position table of "
                f"{model_name(self.model)}, max_position_embeddings = {self.max_positions}"
            )
        if not self._checked:
            self._checked = True
            self._check(input_ids_BL.device)
        step = max(1, self.tokens_at_once // batch) if self._in_pieces else num_tokens
        return self._queries_keys(input_ids_BL, step)

    def _queries_keys(self, input_ids_BL: torch.Tensor, step: int) -> QueriesKeys:
        batch, num_tokens = input_ids_BL.shape
        if step >= num_tokens:
            return self._capture(input_ids_BL, num_tokens)
        q_BLHD = k_BLKD = None
        for start in range(0, num_tokens, step):
            part = self._capture(input_ids_BL[:, start : start + step], num_tokens, start)
            if q_BLHD is None:
                q_BLHD, k_BLKD = (
                    x.new_empty(batch, num_tokens, x.shape[1], x.shape[3]) for x in (part.q, part.k)
                )
            q_BLHD[:, start : start + step] = part.q.transpose(1, 2)
            k_BLKD[:, start : start + step] = part.k.transpose(1, 2)
        return QueriesKeys(q_BLHD.transpose(1, 2), k_BLKD.transpose(1, 2), part.scale, part.softcap)

    def _capture(self, input_ids_BL: torch.Tensor, num_tokens: int, start: int = 0) -> QueriesKeys:
        positions = {}
        if start or input_ids_BL.shape[1] < num_tokens:
            stop = start + input_ids_BL.shape[1]
            positions["position_ids"] = torch.arange(start, stop, device=input_ids_BL.device)[None]
        call = self._captured(input_ids_BL, _CAPTURE, positions)
        self._refuse_other_attention(call, num_tokens)
        return call.queries_keys

    @torch.no_grad()
    def capture_once(self, device: torch.device | str) -> None:
        """Go through embedding and projections with one token, for what that reads.

        Raises:
            ValueError: a first layer without queries and keys.
        """
        self._captured(torch.zeros(1, 1, dtype=torch.long, device=device), _CAPTURE, {})

    def _captured(self, input_ids_BL: torch.Tensor, attention: str, positions: dict) -> AttentionCall:
        configs = {id(config): config for config in (self.model.config, self.model.config.get_text_config())}
        before = {key: config._attn_implementation for key, config in configs.items()}
        for config in configs.values():
            config._attn_implementation = attention
        try:
            self._decoder(input_ids=input_ids_BL, use_cache=False, **positions)
        except _Captured as captured:
            captured.__traceback__ = None  # its frames would keep the intermediate results alive
            return captured.call
        except (ValueError, OSError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            # A state space layer, say, whose parameters are not read; or attention that needs a mask.
            raise self.without_attention() from error
        finally:
            for key, config in configs.items():
                config._attn_implementation = before[key]
        raise self.without_attention()

    def _check(self, device: torch.device) -> None:
        """Compare a short window's softmax with the model's own attention, and its pieces with all of it."""
        ids_1L = check_ids(self.model, device, self.max_positions)
        tokens = ids_1L.shape[1]
        forget_masks()
        call = self._captured(ids_1L, _CAPTURE_MASKED, {})
        self._refuse_other_attention(call, tokens)
        call.require_own_softmax(layer_name(self.model, 0))
        whole = self._queries_keys(ids_1L, tokens)
        probabilities_BHLL = whole.probabilities()
        if not probabilities_BHLL.isfinite().all():
            return  # the sums of a window say so, with its head
        if self._in_pieces:
            pieces = self._queries_keys(ids_1L, -(-tokens // 3))
            difference = (pieces.probabilities() - probabilities_BHLL).abs().max().item()
            # A convolution over tokens, say, ends where pieces meet.
            self._in_pieces = difference <= probability_bound(whole.q.dtype)
        pieces = "in pieces as at once" if self._in_pieces else "at once, not in pieces"
        print(
            f"checked the first layer of {model_name(self.model)}: its softmax is its own attention, {pieces}"
        )

    def without_attention(self) -> ValueError:
        """The error of a model whose first layer does not attend as transformers' other models do."""
        return ValueError(
            f"{layer_name(self.model, 0)} has no queries and keys that transformers' attention "
            "interface hands out: a softmax attention layer is needed there"
        )

    def _refuse_other_attention(self, call: AttentionCall, num_tokens: int) -> None:
        if call.layer:
            raise ValueError(
                f"{layer_name(self.model, 0)} has no queries and keys; its first attention is in layer "
                f"{call.layer}"
            )
        call.require_whole(layer_name(self.model, 0), self.model.config.get_text_config(), num_tokens)


def load_first_layer(
    model_dir: str | Path,
    *,
    dtype: torch.dtype | str,
    device: torch.device | str = "cpu",
    rope_theta: float | None = None,
    compile_layers: bool = False,
) -> FirstLayer:
    """Load what a checkpoint's first layer needs to compute its queries and keys, and nothing else.

    The model is built without memory; a module's tensors are read when the forward
    pass first enters it, which it does for the embedding, the input norm and the projections alone. Files
    of a sharded checkpoint that hold none of them may be missing (see `first_layer_files`).

    Args:
        model_dir: a Hugging Face folder: config.json and safetensors, single or sharded with an index.
        dtype: dtype of parameters and computation, ``torch.bfloat16`` or its name.
        device: where to run.
        rope_theta: base of the rotary embedding instead of the checkpoint's (θ); with it, windows may be
            longer than the positions that the model was made for.
        compile_layers: fuse norm and rotation by torch.compile, which moves results by rounding.

    Raises:
        ValueError: no safetensors, a needed tensor or file missing (named), weights that are not those of
            the folder's manifest, θ for a model without RoPE, and whatever `FirstLayer.queries_keys` refuses
            for a shortest window.
    """
    model_dir = Path(model_dir)
    require_intact_weights(model_dir, first_layer_only=True)
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=False)
    if rope_theta is not None:
        set_rope_theta(config, rope_theta)
    # buffers are made for real: a rotary embedding's frequencies are in no checkpoint
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False).eval()
    forget_lengths(model)
    checkpoint = Checkpoint(model_dir, f"{type(model).__name__} ({config.model_type})")
    prefix = f"{model.base_model_prefix}."
    for module_name, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
        if any(True for _ in module.parameters(recurse=False)):
            _read_on_entry(module, module_name.removeprefix(prefix), checkpoint, dtype, torch.device(device))
    first_layer = FirstLayer(model)
    if rope_theta is not None:
        # As everywhere: who sets θ reaches beyond the positions that the model was made for.
        first_layer.max_positions = None
    # The first pass reads the tensors, and its numbers are none: some models (Llama 4) move the ids to where
    # the embedding is, which is nowhere yet.
    first_layer.capture_once(device)
    first_layer.queries_keys(torch.zeros(1, 1, dtype=torch.long, device=device))
    if compile_layers:
        # Only now: the hooks that read the tensors have run, and are gone.
        decoder_layers.compile_layers(model)
    return first_layer


def window_statistics(
    first_layer: FirstLayer, input_ids_BL: torch.Tensor, *, window_ids: Sequence[str] | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """LongAttn's statistics of each window: per head, then averaged over heads.

    Args:
        first_layer: the scoring model's first layer.
        input_ids_BL: token ids of windows of equal length, on any device.
        window_ids: names of the windows, for errors; None names them by row.

    Returns:
        ``(strength, variance_block, variance_matrix)``, each float64 [B] on the CPU; see
        `longspan.scoring.attention_statistics`.

    Raises:
        ValueError: what `FirstLayer.queries_keys` refuses, a window of fewer than 4 tokens, or sums that
            are not finite (window and head named).
    """
    (statistics,) = statistics_of_batches(first_layer, [(window_ids, input_ids_BL)])
    return statistics


def statistics_of_batches(
    first_layer: FirstLayer, batches: Iterable[tuple[Sequence[str] | None, torch.Tensor]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`window_statistics` of batch after batch, each yielded while the device works on the next.

    Args:
        first_layer: the scoring model's first layer.
        batches: ``(window_ids, input_ids_BL)``; token ids on any device.
    """
    device = next(p.device for p in first_layer.model.parameters() if not p.is_meta)
    pending = None
    for window_ids, input_ids_BL in batches:
        if device.type == "cuda" and input_ids_BL.device.type == "cpu":
            input_ids_BL = input_ids_BL.pin_memory()
        layer = first_layer.queries_keys(input_ids_BL.to(device, non_blocking=True))
        sums = far_attention_sums(layer.q, layer.k, scale=layer.scale, softcap=layer.softcap)
        sums = [sum_BH.to("cpu", non_blocking=True) for sum_BH in sums]
        # Waiting for the stream would wait for the next batch too, and leave the device idle after it.
        copied = torch.cuda.Event() if device.type == "cuda" else None
        if copied is not None:
            copied.record()
        # queries and keys are freed here: the allocator hands their memory to the next batch in order
        started = (window_ids, input_ids_BL.shape[1], layer.q.dtype, sums, copied)
        del layer
        if pending is not None:
            yield _finish(*pending)
        pending = started
    if pending is not None:
        yield _finish(*pending)


def _finish(window_ids, num_tokens, dtype, sums, copied):
    if copied is not None:
        copied.synchronize()
    sum_p, sum_p2 = sums
    bad = (~(sum_p.isfinite() & sum_p2.isfinite())).nonzero()
    if len(bad):
        row, head = bad[0].tolist()
        window = f"row {row}" if window_ids is None else window_ids[row]
        raise ValueError(
            f"attention scores are not finite in window {window}, head {head} ({len(bad)} of {sum_p.numel()} "
            f"heads in this batch); the model runs in {dtype}: try bfloat16 or float32"
        )
    per_head = (
        dependency_strength(sum_p, num_tokens),
        attention_variance(sum_p, sum_p2, num_tokens, "block"),
        attention_variance(sum_p, sum_p2, num_tokens, "matrix"),
    )
    strength, variance_block, variance_matrix = (x_BH.mean(1) for x_BH in per_head)
    return strength, variance_block, variance_matrix


class _Captured(Exception):  # noqa: N818 - it ends the forward pass, it is no error
    def __init__(self, call: AttentionCall):
        self.call = call


@torch.compiler.disable
def _capture(module, query, key, value, attention_mask, **given):
    raise _Captured(AttentionCall(module, (query, key, value), attention_mask, given))


AttentionInterface.register(_CAPTURE, _capture)
AttentionInterface.register(_CAPTURE_MASKED, _capture)
AttentionMaskInterface.register(_CAPTURE_MASKED, noted_mask)


def _read_on_entry(
    module: nn.Module, module_name: str, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
) -> None:
    def read(*_):
        for name, empty in list(module.named_parameters(recurse=False)):
            tensor = checkpoint.read(f"{module_name}.{name}").to(device=device, dtype=dtype)
            if tensor.shape != empty.shape:
                raise ValueError(
                    f"{checkpoint.model_dir}: {module_name}.{name} of {checkpoint.model} is "
                    f"{tuple(tensor.shape)}, the config says {tuple(empty.shape)}"
                )
            setattr(module, name, nn.Parameter(tensor, requires_grad=False))
        handle.remove()

    handle = module.register_forward_pre_hook(read)
