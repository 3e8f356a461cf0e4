"""Bytes a token that the chain keeps, by stage, over the results of some settings.

    python benchmarks/disk.py --configfile config.yaml

A stage's bytes are divided by the tokens that it covers: texts, ids and offsets by all tokens of the corpus,
scores by those of the scored windows, exports by those of the exported ones.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from longspan_workflow.settings.blocks import Settings
from longspan_workflow.settings.loading import load_settings


def column_bytes(paths) -> Counter:
    """Bytes of tables by column, and of everything else in the files as ''."""
    sizes = Counter()
    for path in paths:
        metadata = pq.ParquetFile(path).metadata
        parts = Counter()
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                parts[column.path_in_schema.partition(".")[0]] += column.total_compressed_size
        sizes += parts
        sizes[""] += Path(path).stat().st_size - parts.total()
    return sizes


def values_of(paths, column: str) -> int:
    """Number of values in a column of lists."""
    count = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=16, columns=[column]):
            count += len(batch.column(0).flatten())
    return count


def measure(settings: Settings) -> list[tuple[str, str, int, int]]:
    """Rows of (stage, name, bytes, tokens that they cover)."""
    rows, results = [], Path(settings.results_dir)
    for corpus in settings.corpora:
        tokens_of = Counter()
        folder = results / "corpora" / corpus / "documents"
        for tokenizer in (results / "tokens" / corpus).glob("*"):
            paths = sorted(tokenizer.glob("*.parquet"))
            sizes, tokens = column_bytes(paths), values_of(paths, "input_ids")
            tokens_of[corpus] = tokens
            ids = sizes["input_ids"]
            rows.append(("token ids", f"{corpus}/{tokenizer.name}", ids, tokens))
            rows.append(("offsets", f"{corpus}/{tokenizer.name}", sizes.total() - ids, tokens))
        rows.insert(
            0, ("texts", corpus, column_bytes(sorted(folder.glob("*.parquet"))).total(), tokens_of[corpus])
        )
    for windowing, block in settings.windowings.items():
        size = block.window_tokens
        paths = sorted((results / "windows" / windowing).glob("*.parquet"))
        count = sum(pq.ParquetFile(path).metadata.num_rows for path in paths)
        rows.append(("windows", windowing, column_bytes(paths).total(), count * size))
        for scorer in sorted((results / "scores" / windowing).glob("*")):
            paths = sorted(path for path in scorer.glob("*.parquet"))
            count = sum(pq.ParquetFile(path).metadata.num_rows for path in paths if path.stem != "index")
            rows.append(("scores", f"{windowing}/{scorer.name}", column_bytes(paths).total(), count * size))
    for name in settings.exports:
        folder = results / "exports" / name
        manifests = [json.loads(path.read_text()) for path in sorted(folder.glob("manifests/*.json"))]
        sizes = sum(manifest["size_bytes"] for manifest in manifests)
        rows.append(("export", name, sizes, sum(manifest["tokens"] for manifest in manifests)))
    return [row for row in rows if row[3]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    arguments = parser.parse_args()
    rows = measure(load_settings(yaml.safe_load(arguments.configfile.read_text())))
    print(f"{'stage':10} {'name':40} {'bytes':>14} {'tokens':>14} {'bytes a token':>14}")
    for stage, name, size, tokens in rows:
        print(f"{stage:10} {name:40} {size:14,} {tokens:14,} {size / tokens:14.3f}")
    kept = sum(size / tokens for stage, _, size, tokens in rows if stage != "export")
    print(f"{'sum':10} {'of all that the chain keeps, without exports':70} {kept:14.3f}")


if __name__ == "__main__":
    main()
