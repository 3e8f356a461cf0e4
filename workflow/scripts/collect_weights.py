"""Check that a store's scores are complete, and index them.

    python workflow/scripts/collect_weights.py --windows results/windows/books-2k --shards 2 \
        --scores results/scores/books-2k/short --index results/scores/books-2k/short/index.parquet
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.scoring.index import IndexBuilder
from longspan.store.code import code_digest
from longspan.store.shards import shard_files
from longspan.store.tables import RowReader, write_table
from longspan.windows.store import kept_ids


def main(argv=None):
    """Write the index, or say what is missing, doubled or foreign."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--scores", type=Path, required=True, help="folder of tables of scores")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--kept", nargs="*", default=[], help="kept windows: only those must be there")
    parser.add_argument("--index", required=True, help="index to write")
    arguments = parser.parse_args(argv)

    scores = shard_files(arguments.scores, arguments.shards)
    index = IndexBuilder("nll_scores")
    for shard, path in shard_files(arguments.windows, arguments.shards).items():
        index.add(shard, RowReader(path, "windows"), RowReader(scores[shard], "nll_scores"))
    kept = kept_ids(arguments.kept, index.windows_digests) if arguments.kept else None
    rows, inputs = index.finish(kept)
    write_table(
        arguments.index,
        "score_index",
        rows,
        settings=index.scores_manifest.settings,
        inputs=inputs,
        tokenizer=index.scores_manifest.tokenizer,
        code_digest=code_digest(Path(__file__)),
    )
    print(f"{arguments.index}: {len(rows)} windows in {len(scores)} shards, each once")


if __name__ == "__main__":
    run_script(main)
