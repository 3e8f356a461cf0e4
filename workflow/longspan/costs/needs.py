"""What a step will need, estimated before anything is loaded. Imports no torch.

Times and memory of a device rest on the measurements of docs/performance.md, of one H100 80GB (short NLL,
LongAttn) and two H200 (training); bytes of tables on docs/disk.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from longspan.costs.shape import DecoderShape

# Bytes of a chunk's logits are counted up to so many entries.
CHUNK_LOGITS = 2**27

# Share of a device's dense bfloat16 rate that is reached: scoring Llama-3-8B's shape in windows of 8192
# tokens, training it at 32768, and the queries' and keys' products of its first layer at 32768.
SCORING_SHARE = 0.773
TRAINING_SHARE = 0.570
RECOMPUTING_SHARE = 0.508
ATTENTION_SHARE = 0.66
# H100's data sheet: dense bfloat16 over float32 without tensor cores.
_FLOAT32_SLOWDOWN = 989 / 67
# Libraries, CUDA's context and buffers of a process that uses a device; what loading takes for each weight.
PROCESS_BYTES = 4e9
LOADING = 1.25
# Until a model's first window: imports, reading weights and their sha256 (bytes a second), torch.compile.
START_SECONDS, READING_RATE, COMPILING_SECONDS = 30, 5e8, 60
# Bytes a token in files.
NLL_BYTES = 1.95
ATTENTION_BYTES = 0.11


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
    "aggregate_shard": TextStage(million_token_seconds=2),
    "export_windows": TextStage(million_token_seconds=30, token_bytes=6.4),
    "make_task": TextStage(million_token_seconds=5, token_bytes=2.2),
}


def forward_needs(
    shape: DecoderShape,
    flops: float,
    windows: float | None,
    rows: int,
    *,
    dtype: str,
    compile_layers: bool,
    device_flops: float,
) -> Needs:
    """Needs of a job that runs a model forward over windows.

    Args:
        shape: the model's shape.
        flops: floating-point operations of a window.
        windows: number of windows; None if it is not known.
        rows: tokens of the longest pass.
        dtype: of weights and activations.
        compile_layers: whether layers are compiled.
        device_flops: dense bfloat16 FLOP/s of a device.
    """
    width = width_of(dtype)
    weights = shape.parameters * width
    # Of one layer: hidden states, queries, keys and their sums; fused, an MLP holds its gate in no array.
    mlp = (2 if compile_layers else 3) * shape.intermediate_size
    layer = rows * (4 * shape.hidden_size + mlp) * width
    logits = min(rows * shape.vocab_size, CHUNK_LOGITS) * 4
    start = START_SECONDS + weights / READING_RATE + (COMPILING_SECONDS if compile_layers else 0)
    rate = device_rate(device_flops, dtype) * SCORING_SHARE
    return Needs(
        host_bytes=PROCESS_BYTES + LOADING * weights,
        device_bytes=weights + max(layer, logits),
        devices=1,
        seconds=None if windows is None else start + windows * flops / rate,
    )


# Seconds a layer takes to read one more token when its launches, not its sums, take the time.
_LAYER_STEP_SECONDS = 4e-4
# Bytes a second at which a device reads weights: an H100's data sheet, two thirds of it.
_WEIGHT_RATE = 2.2e12


def answering_needs(
    shape: DecoderShape,
    lengths: Mapping[int, tuple[float, float, int]],
    *,
    tokens_per_batch: int,
    dtype: str,
    device_flops: float,
) -> Needs:
    """Needs of a job in which a model answers prompts.

    Args:
        shape: the model's shape.
        lengths: samples, passes of each over a sequence of this length, and tokens that the model writes for
            each, by length.
        tokens_per_batch: tokens that go through the model at once.
        dtype: of weights and activations.
        device_flops: dense bfloat16 FLOP/s of a device.
    """
    width = width_of(dtype)
    weights = shape.parameters * width
    rate = device_rate(device_flops, dtype) * SCORING_SHARE
    step = max(shape.num_hidden_layers * _LAYER_STEP_SECONDS, weights / _WEIGHT_RATE)
    seconds = START_SECONDS + weights / READING_RATE
    for length, (samples, passes, new_tokens) in lengths.items():
        batches = math.ceil(samples / max(1, tokens_per_batch // length))
        seconds += samples * passes * shape.forward_flops(length, 0) / rate + batches * new_tokens * step
    rows = max([tokens_per_batch, *lengths])
    keys = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * width
    layer = (4 * shape.hidden_size + 3 * shape.intermediate_size) * width
    return Needs(
        host_bytes=PROCESS_BYTES + LOADING * weights,
        device_bytes=weights + rows * (keys + layer) + CHUNK_LOGITS * 4,
        devices=1,
        seconds=seconds,
    )


def requested_minutes(seconds: float) -> int:
    """Time to ask for: an hour for queues of disks and networks, and three times what is estimated."""
    return 60 + math.ceil(3 * seconds / 60)


def width_of(dtype: str) -> int:
    """Bytes of a number."""
    return 4 if dtype == "float32" else 2


def device_rate(device_flops: float, dtype: str) -> float:
    """FLOP/s of a device in some dtype, by its dense bfloat16 rate."""
    return device_flops / _FLOAT32_SLOWDOWN if dtype == "float32" else device_flops
