"""What a step will need, estimated before anything is loaded. Imports no torch.

Times and memory of a device rest on the README's measurements of one H100 80GB (short NLL, LongAttn) and two
H200 (training); bytes of tables on docs/disk.md.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from longspan.scoring.geometry import scoring_windows

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
    logits = min(rows * vocabulary, _CHUNK_LOGITS) * _LOGIT_BYTES
    forward = saved + gathered + vocabulary * hidden * 4 + logits
    return int(states + max(forward, backward, last))


# Share of a device's dense bfloat16 rate that is reached: scoring Llama-3-8B's shape in windows of 8192
# tokens, training it at 32768, and the queries' and keys' products of its first layer at 32768.
_SCORING_SHARE = 0.773
_TRAINING_SHARE = 0.570
_RECOMPUTING_SHARE = 0.508
_ATTENTION_SHARE = 0.66
# H100's data sheet: dense bfloat16 over float32 without tensor cores.
_FLOAT32_SLOWDOWN = 989 / 67
# Libraries, CUDA's context and buffers of a process that uses a device; what loading takes for each weight.
_PROCESS_BYTES = 4e9
_LOADING = 1.25
# Until a model's first window: imports, reading weights and their sha256 (bytes a second), torch.compile.
_START_SECONDS, _READING_RATE, _COMPILING_SECONDS = 30, 5e8, 60
# Bytes a token in files.
NLL_BYTES = 1.95
ATTENTION_BYTES = 0.11


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a Llama-like decoder, under the names of its transformers config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool = False

    @classmethod
    def of(cls, config: dict) -> "DecoderShape":
        """Read the shape from the content of a config.json.

        An output layer that the config says nothing about is counted beside the embedding.

        Raises:
            ValueError: the config names no such sizes, or a mixture of experts.
        """
        config = config.get("text_config") or config
        if any(config.get(name) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
            raise ValueError("config.json names several experts, and what they need is not estimated")

        def size(*names: str, default: int | None = None) -> int:
            found = next((config[name] for name in names if config.get(name)), default)
            if found is None:
                raise ValueError(f"config.json has no {names[0]}, so what its model needs is not known")
            return int(found)

        hidden, heads = size("hidden_size", "n_embd"), size("num_attention_heads", "n_head")
        return cls(
            vocab_size=size("vocab_size"),
            hidden_size=hidden,
            intermediate_size=size("intermediate_size", "n_inner", default=4 * hidden),
            num_hidden_layers=size("num_hidden_layers", "n_layer"),
            num_attention_heads=heads,
            num_key_value_heads=size("num_key_value_heads", default=heads),
            head_dim=size("head_dim", default=hidden // heads),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        )

    def get_text_config(self) -> "DecoderShape":
        """Itself, as a transformers config would."""
        return self

    @property
    def _queries(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def _keys(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @property
    def _matrices(self) -> int:
        layer = self.hidden_size * (2 * self._queries + 2 * self._keys + 3 * self.intermediate_size)
        return self.num_hidden_layers * layer

    @property
    def parameters(self) -> int:
        """Parameters, those of norms left out."""
        return self._matrices + self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def first_layer_parameters(self) -> int:
        """Parameters of the embedding and of the first layer's queries and keys."""
        return self.hidden_size * (self.vocab_size + self._queries + self._keys)

    def forward_flops(self, tokens: int, scored_tokens: int | None = None) -> float:
        """As `longspan.costs.flops.forward_flops`, by the shape alone."""
        scored = tokens if scored_tokens is None else scored_tokens
        output_layer = 2.0 * scored * self.vocab_size * self.hidden_size
        attention = 2.0 * self.num_hidden_layers * self._queries * tokens**2
        return 2.0 * tokens * self._matrices + output_layer + attention

    def attention_flops(self, tokens: int) -> float:
        """FLOPs of the first layer's queries, keys, and causal products of the two, over one sequence."""
        projections = 2.0 * tokens * self.hidden_size * (self._queries + self._keys)
        return projections + self._queries * tokens**2


@dataclass(frozen=True)
class Needs:
    """What one job needs.

    Attributes:
        host_bytes: memory of a node.
        seconds: of the job; None if that is not known.
        device_bytes: memory of each device.
        devices: devices on each node.
        nodes: nodes.
        disk_bytes: size of what it leaves behind; None if that is not known.
    """

    host_bytes: float
    seconds: float | None
    device_bytes: float = 0
    devices: int = 0
    nodes: int = 1
    disk_bytes: float | None = 0

    @property
    def device_seconds(self) -> float | None:
        """Time of all its devices together."""
        return None if self.seconds is None else self.seconds * self.devices * self.nodes


@dataclass(frozen=True)
class TextStage:
    """A step over texts or tables: memory, seconds and bytes on disk by millions of tokens, and of windows.

    Documents go through one by one, so that memory hardly depends on their number.
    """

    host_bytes: float = 4e9
    window_bytes: float = 0
    million_token_seconds: float = 0
    window_seconds: float = 0
    token_bytes: float = 0

    def needs(self, tokens: float | None, windows: float | None = 0) -> Needs:
        """Needs of a job over so many tokens and windows, None where that is not known."""
        known = tokens is not None and windows is not None
        seconds = tokens / 1e6 * self.million_token_seconds + windows * self.window_seconds if known else None
        return Needs(
            host_bytes=self.host_bytes + self.window_bytes * (windows or 0),
            seconds=seconds,
            disk_bytes=None if tokens is None else tokens * self.token_bytes,
        )


# Seconds of the default run on 2 CPU cores, and bytes of its export, jsonl.zst with weights. Of a window: by
# benchmarks/collect_weights.py.
TEXT_STAGES = {
    "plan_shards": TextStage(million_token_seconds=2, token_bytes=0.02),
    "read_documents": TextStage(million_token_seconds=4, token_bytes=1.29),
    "tokenize_documents": TextStage(million_token_seconds=3, token_bytes=1.75),
    "assign_windows": TextStage(million_token_seconds=1, token_bytes=0.07),
    "select_windows": TextStage(window_bytes=14e3, window_seconds=2e-4),
    "collect_weights": TextStage(window_bytes=14e3, window_seconds=2e-4),
    "export_windows": TextStage(million_token_seconds=30, token_bytes=6.4),
}


def score_short_needs(
    shape: DecoderShape,
    windows: float | None,
    *,
    window_tokens: int,
    base_length: int,
    base_stride: int,
    windows_per_batch: int,
    store_long: bool,
    dtype: str,
    compile_layers: bool,
    device_flops: float,
) -> Needs:
    """Needs of a job that scores windows by a frozen model, None windows if their number is not known.

    Seconds are FLOPs over the share of `device_flops` (dense bfloat16, FLOP/s) that scoring reaches, beside
    the start.
    """
    short = scoring_windows(window_tokens, base_length, base_stride)
    flops = sum(shape.forward_flops(base_length, window.stop - window.scored_start) for window in short)
    rows = base_length * min(windows_per_batch, len(short))
    if store_long:
        flops += shape.forward_flops(window_tokens)
        rows = max(rows, window_tokens)
    needs = _forward_needs(
        shape, flops, windows, rows, dtype=dtype, compile_layers=compile_layers, device_flops=device_flops
    )
    stored = NLL_BYTES * (2 if store_long else 1)
    return replace(needs, disk_bytes=None if windows is None else windows * window_tokens * stored)


def evaluation_needs(
    shape: DecoderShape,
    windows: float | None,
    *,
    window_tokens: int,
    dtype: str,
    compile_layers: bool,
    device_flops: float,
) -> Needs:
    """Needs of a job that takes the loss of whole windows; as `score_short_needs`."""
    return _forward_needs(
        shape,
        shape.forward_flops(window_tokens),
        windows,
        window_tokens,
        dtype=dtype,
        compile_layers=compile_layers,
        device_flops=device_flops,
    )


def _forward_needs(
    shape: DecoderShape,
    flops: float,
    windows: float | None,
    rows: int,
    *,
    dtype: str,
    compile_layers: bool,
    device_flops: float,
) -> Needs:
    width = _width(dtype)
    weights = shape.parameters * width
    # Of one layer: hidden states, queries, keys and their sums; fused, an MLP holds its gate in no array.
    mlp = (2 if compile_layers else 3) * shape.intermediate_size
    layer = rows * (4 * shape.hidden_size + mlp) * width
    logits = min(rows * shape.vocab_size, _CHUNK_LOGITS) * 4
    start = _START_SECONDS + weights / _READING_RATE + (_COMPILING_SECONDS if compile_layers else 0)
    rate = _rate(device_flops, dtype) * _SCORING_SHARE
    return Needs(
        host_bytes=_PROCESS_BYTES + _LOADING * weights,
        device_bytes=weights + max(layer, logits),
        devices=1,
        seconds=None if windows is None else start + windows * flops / rate,
    )


def score_attention_needs(
    shape: DecoderShape, windows: float | None, *, window_tokens: int, dtype: str, device_flops: float
) -> Needs:
    """Needs of a job that takes LongAttn's statistics of windows; as `score_short_needs`."""
    width = _width(dtype)
    weights = shape.first_layer_parameters * width
    rate = _rate(device_flops, dtype) * _ATTENTION_SHARE
    start = _START_SECONDS + weights / _READING_RATE
    flops = shape.attention_flops(window_tokens)
    return Needs(
        host_bytes=_PROCESS_BYTES + _LOADING * weights,
        device_bytes=weights + 4 * window_tokens * shape.hidden_size * width,
        devices=1,
        seconds=None if windows is None else start + windows * flops / rate,
        disk_bytes=None if windows is None else windows * window_tokens * ATTENTION_BYTES,
    )


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
    last one is still there; that of the last update holds the weights
    alone where they are not shared out.

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
    rate = _rate(device_flops, dtype) * (_RECOMPUTING_SHARE if recomputes else _TRAINING_SHARE)
    batch = train["per_device_train_batch_size"]
    sequences = train["max_steps"] * train["gradient_accumulation_steps"] * batch
    loaded = weights * (1 if train["sharding"] == "full" else train["devices"])
    offloaded = 4 * weights / train["nodes"] if train["cpu_offload"] else 0
    last = 3 * weights if train["sharding"] == "full" else weights
    checkpoints = 6 * weights if train["save_steps"] < train["max_steps"] else last
    return Needs(
        host_bytes=train["devices"] * _PROCESS_BYTES + loaded + weights + offloaded,
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
        seconds=_START_SECONDS + _COMPILING_SECONDS + loaded / _READING_RATE + sequences * flops / rate,
        disk_bytes=weights + checkpoints,
    )


def requested_minutes(seconds: float) -> int:
    """Time to ask for: an hour for queues of disks and networks, and three times what is estimated."""
    return 60 + math.ceil(3 * seconds / 60)


def _width(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def _rate(device_flops: float, dtype: str) -> float:
    return device_flops / _FLOAT32_SLOWDOWN if dtype == "float32" else device_flops
