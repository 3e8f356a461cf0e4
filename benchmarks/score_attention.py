"""Score windows end to end with the first layer of an 8B model (random weights) on one GPU.

    PYTHONPATH=workflow python benchmarks/score_attention.py

Windows are read from a Parquet shard of token ids; embedding, norm, projections, RoPE and sums run in
bfloat16, norm and RoPE fused by torch.compile. Prints the device, tokens a second and the peak memory for
each window length.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from llama_shapes import LLAMA_8B, llama_config
from safetensors.torch import save_file

from longspan.models.checkpoint_index import SINGLE_NAME
from longspan.scoring.first_layer import load_first_layer, statistics_of_batches, window_statistics
from longspan.windows.policies import strided

CONFIG = llama_config(LLAMA_8B, 131072)


def write_first_layer(folder):
    """A checkpoint of random weights that holds what the first layer needs."""
    CONFIG.architectures = ["LlamaForCausalLM"]
    CONFIG.save_pretrained(folder)
    hidden, head_dim = CONFIG.hidden_size, CONFIG.hidden_size // CONFIG.num_attention_heads
    rows = {
        "embed_tokens": CONFIG.vocab_size,
        "layers.0.self_attn.q_proj": hidden,
        "layers.0.self_attn.k_proj": CONFIG.num_key_value_heads * head_dim,
        "layers.0.self_attn.v_proj": CONFIG.num_key_value_heads * head_dim,
    }
    tensors = {
        f"model.{name}.weight": torch.randn(count, hidden, dtype=torch.bfloat16) * 0.02
        for name, count in rows.items()
    }
    tensors["model.layers.0.input_layernorm.weight"] = torch.ones(hidden, dtype=torch.bfloat16)
    save_file(tensors, folder / SINGLE_NAME)


def write_shard(path, num_documents, document_tokens):
    ids = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (num_documents, document_tokens), np.int32)
    column = pa.ListArray.from_arrays(np.arange(num_documents + 1) * document_tokens, ids.ravel())
    pq.write_table(pa.table({"input_ids": column}), path, compression="zstd")


def windows_of(path, window_tokens):
    """Token ids of each window, int32 [window_tokens], document by document."""
    for batch in pq.ParquetFile(path).iter_batches(batch_size=16, columns=["input_ids"]):
        for row in batch["input_ids"]:
            ids = row.values.to_numpy()
            for start, stop in strided(len(ids), window_tokens, window_tokens):
                yield ids[start:stop]


def batches_of(path, window_tokens, windows_a_batch):
    windows = windows_of(path, window_tokens)
    while batch := list(itertools.islice(windows, windows_a_batch)):
        yield None, torch.from_numpy(np.stack(batch))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--window-tokens", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--million-tokens", type=int, default=16)
    parser.add_argument("--tokens-a-batch", type=int, default=65536)
    parser.add_argument("--tokens-at-once", type=int, nargs="+", default=[8192])
    parser.add_argument("--plain", action="store_true", help="leave the layer as it is, not compiled")
    args = parser.parse_args(argv)

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: first layer of an 8B, bfloat16")
    print("| window | tokens at once | windows a batch | windows | million tokens/s | peak GB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_first_layer(Path(folder))
        shard = Path(folder) / "shard.parquet"
        write_shard(shard, args.million_tokens * 8, 131072)
        first_layer = load_first_layer(folder, dtype="bfloat16", device="cuda", compile_layers=not args.plain)
        for window_tokens, first_layer.tokens_at_once in itertools.product(
            args.window_tokens, args.tokens_at_once
        ):
            windows_a_batch = max(1, args.tokens_a_batch // window_tokens)
            for _, input_ids in itertools.islice(batches_of(shard, window_tokens, windows_a_batch), 2):
                window_statistics(first_layer, input_ids)  # warms up
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            batches = batches_of(shard, window_tokens, windows_a_batch)
            strengths = torch.cat([s[0] for s in statistics_of_batches(first_layer, batches)]).cpu()
            seconds = time.perf_counter() - start
            print(
                f"| {window_tokens} | {first_layer.tokens_at_once} | {windows_a_batch} | {len(strengths)} "
                f"| {len(strengths) * window_tokens / seconds / 1e6:.2f} "
                f"| {torch.cuda.max_memory_allocated() / 1e9:.2f} |"
            )


if __name__ == "__main__":
    main()
