"""What a training will need, estimated before anything is loaded. Imports no torch."""

from typing import Any

from longspan.costs.needs import (
    CHUNK_LOGITS,
    COMPILING_SECONDS,
    PROCESS_BYTES,
    READING_RATE,
    RECOMPUTING_SHARE,
    START_SECONDS,
    TRAINING_SHARE,
    Needs,
    device_rate,
)
from longspan.costs.shape import DecoderShape
from longspan.scoring.geometry import scoring_windows

# Values in flight while one layer is computed again and its gradient taken, in arrays of [tokens, width].
_MLP_ARRAYS = 5
_ATTENTION_ARRAYS = 6
# Bytes of an entry of a chunk's logits, beside the logits themselves their gradient.
_LOGIT_BYTES = 6


def training_memory_bytes(
    config: Any,
    tokens: int,
    *,
    sequences: int = 1,
    processes: int = 1,
    sharding: str = "none",
    cpu_offload: bool = False,
    bf16: bool = True,
    gradient_checkpointing: bool = True,
    keep_attention: bool | int = False,
    mlp_tokens: int | None = None,
) -> int:
    """Estimate the peak memory of one CUDA device in training by AdamW, with master weights in float32.

    The largest of three moments, each beside the weights and two moments, 12 bytes a parameter over the
    processes that share them: the output layer at the end of the forward pass, the last decoder layer at the
    start of the backward pass, with all that is kept for it, and its end, when all gradients are there. Where
    weights are shared, they are gathered in the dtype of the products. On two H200 it was 0.2% above the
    measured peak of 8B and 3.5% above that of its first two layers, 4.8% above that of its first eight with
    cpu_offload, and 5.9% above that of 1B in replicas (benchmarks/train_sharded.py).

    Args:
        config: the model's transformers config, of a Llama-like decoder.
        tokens: length of a sequence.
        sequences: sequences in one forward pass.
        processes: devices.
        sharding: "none" or "full".
        cpu_offload: weights, gradients and moments are in host memory.
        bf16: products in bfloat16.
        gradient_checkpointing: activations are computed again.
        keep_attention: all but attention's, in all layers or in so many.
        mlp_tokens: tokens that go through an MLP at a time, or None for all.

    Returns:
        bytes.
    """
    config = config.get_text_config()
    hidden, layers, vocabulary = config.hidden_size, config.num_hidden_layers, config.vocab_size
    head_size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    heads = config.num_attention_heads * head_size
    key_values = config.num_key_value_heads * head_size
    layer = hidden * (2 * heads + 2 * key_values) + 3 * hidden * config.intermediate_size
    ends = vocabulary * hidden * (1 if config.tie_word_embeddings else 2)
    parameters = layers * layer + ends
    width = 2 if bf16 else 4
    shared = sharding == "full"

    # Weights and two moments are there from the second update on; gradients come as activations go.
    share = processes if shared else 1
    states = 0 if cpu_offload else 12 * parameters // share
    gradients = 0 if cpu_offload else 4 * parameters // share

    rows = sequences * tokens
    stream = width if shared else 4  # the residual stream keeps the dtype of the embedding
    saved = layers * rows * hidden * stream
    saved += (layers if keep_attention is True else int(keep_attention)) * rows * heads * width
    mlp_rows = rows if mlp_tokens is None else min(rows, sequences * mlp_tokens)
    mlp = mlp_rows * _MLP_ARRAYS * config.intermediate_size
    working = (mlp + rows * _ATTENTION_ARRAYS * hidden) * width
    if not gradient_checkpointing:
        saved += (layers - 1) * working
    if shared:
        # Two layers and both ends gathered; gradients of the output layer and of a layer, summed in float32.
        gathered = (2 * layer + ends) * width
        backward = saved + gathered + vocabulary * hidden * width + layer * (width + 4) + working
        last = gradients + ends * (2 * width + 4)
    else:
        # Autocast keeps its copies for the backward pass; replicas sum gradients in buckets.
        gathered = (parameters * width if bf16 else 0) + (4 * parameters if processes > 1 else 0)
        backward = saved + gathered + vocabulary * hidden * 4 + working
        last = gradients + gathered
    logits = min(rows * vocabulary, CHUNK_LOGITS) * _LOGIT_BYTES
    forward = saved + gathered + vocabulary * hidden * 4 + logits
    return int(states + max(forward, backward, last))


def training_needs(
    shape: DecoderShape,
    *,
    window_tokens: int,
    self_scoring: dict | None,
    train: dict,
    device_flops: float,
) -> Needs:
    """Needs of a training.

    Weights are loaded in float32, by one process where they are shared out and by each where they are not,
    and the first one gathers them at the end. While a checkpoint (weights and two moments) is written, the
    last one is still there; that of the last update holds the weights alone where they are not shared out.

    Args:
        shape: the model's shape.
        window_tokens: tokens of a sequence.
        self_scoring: base_length and base_stride of a model that scores itself, or None.
        train: settings of a run's training, as in the schema.
        device_flops: dense bfloat16 FLOP/s of a device.
    """
    processes = train["devices"] * train["nodes"]
    weights = 4.0 * shape.parameters
    flops = 3 * shape.forward_flops(window_tokens)
    if self_scoring is not None:
        length, stride = self_scoring["base_length"], self_scoring["base_stride"]
        later = scoring_windows(window_tokens, length, stride)[1:]
        flops += len(later) * shape.forward_flops(length, stride)
    recomputes = train["gradient_checkpointing"] and not train["keep_attention"]
    dtype = "bfloat16" if train["bf16"] else "float32"
    rate = device_rate(device_flops, dtype) * (RECOMPUTING_SHARE if recomputes else TRAINING_SHARE)
    batch = train["per_device_train_batch_size"]
    sequences = train["max_steps"] * train["gradient_accumulation_steps"] * batch
    loaded = weights * (1 if train["sharding"] == "full" else train["devices"])
    offloaded = 4 * weights / train["nodes"] if train["cpu_offload"] else 0
    last = 3 * weights if train["sharding"] == "full" else weights
    checkpoints = 6 * weights if train["save_steps"] < train["max_steps"] else last
    return Needs(
        host_bytes=train["devices"] * PROCESS_BYTES + loaded + weights + offloaded,
        device_bytes=training_memory_bytes(
            shape,
            window_tokens,
            sequences=batch,
            processes=processes,
            sharding=train["sharding"],
            cpu_offload=train["cpu_offload"],
            bf16=train["bf16"],
            gradient_checkpointing=train["gradient_checkpointing"],
            keep_attention=train["keep_attention"],
            mlp_tokens=train["mlp_tokens"],
        ),
        devices=train["devices"],
        nodes=train["nodes"],
        seconds=START_SECONDS + COMPILING_SECONDS + loaded / READING_RATE + sequences * flops / rate,
        disk_bytes=weights + checkpoints,
    )
