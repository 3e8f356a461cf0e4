"""What a step will need, estimated before anything is loaded."""

from typing import Any

# Values in flight while one layer is computed again and its gradient taken, in arrays of [tokens, width].
_MLP_ARRAYS = 5
_ATTENTION_ARRAYS = 6
# Bytes of an entry of a chunk's logits, beside the logits themselves their gradient.
_LOGIT_BYTES = 6
_CHUNK_LOGITS = 2**27


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
    keep_attention: bool = False,
) -> int:
    """Estimate the peak memory of one CUDA device in training by AdamW, with master weights in float32.

    Counted are: weights, gradients and two moments, 16 bytes a parameter over the processes that share them;
    copies of weights in the dtype of the products, gathered for two layers, the embedding and the output
    layer where they are shared; what each layer keeps for the backward pass; one layer's values while it is
    computed again; a chunk of logits, and the output layer's gradient.

    Args:
        config: the model's transformers config, of a Llama-like decoder.
        tokens: length of a sequence.
        sequences: sequences in one forward pass.
        processes: devices.
        sharding: "none" or "full".
        cpu_offload: weights, gradients and moments are in host memory.
        bf16: products in bfloat16.
        gradient_checkpointing: activations are computed again.
        keep_attention: all but attention's.

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

    states = 0 if cpu_offload else 16 * parameters // (processes if shared else 1)
    if shared:
        # Weights in the dtype of products, their gradients, and those summed in float32.
        gathered = (2 * layer + ends) * width + (layer + ends) * width + (layer + ends) * 4
    else:
        # Autocast keeps its copies for the backward pass; replicas sum gradients in buckets.
        gathered = (parameters * width if bf16 else 0) + (4 * parameters if processes > 1 else 0)

    rows = sequences * tokens
    stream = width if shared else 4  # the residual stream keeps the dtype of the embedding
    saved = layers * rows * hidden * stream
    if keep_attention:
        saved += layers * rows * heads * width
    working = rows * (_MLP_ARRAYS * config.intermediate_size + _ATTENTION_ARRAYS * hidden) * width
    if not gradient_checkpointing:
        saved += (layers - 1) * working
    output_layer = vocabulary * hidden * 4 + min(rows * vocabulary, _CHUNK_LOGITS) * _LOGIT_BYTES
    return int(states + gathered + saved + max(working, output_layer))
