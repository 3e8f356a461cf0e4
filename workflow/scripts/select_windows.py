"""Rank windows by a score over all shards, and say which are kept and why.

    python workflow/scripts/select_windows.py --settings '{"method": "longattn", "mode": "paper", …}' \
        --windows results/windows/books-2k --scores results/scores/books-2k/layer0 --shards 2 \
        --selection results/selections/best-quarter.parquet
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.selection.scores import method_scores
from longspan.selection.table import selection_table
from longspan.store.code import code_digest
from longspan.store.shards import shard_files
from longspan.store.tables import write_table


def main(argv=None):
    """Write the selection table."""
    parser = parser_for(__doc__)
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--scores", type=Path, help="longattn, nll_gain: folder of tables of scores")
    parser.add_argument("--documents", type=Path, help="gzip: folder of tables of documents")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--selection", required=True, help="table to write")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    options = {key: settings[key] for key in ("alpha", "mode", "seed") if key in settings}
    for name in ("scores", "documents"):
        if folder := getattr(arguments, name):
            options[name] = shard_files(folder, arguments.shards)
    windows, inputs = method_scores(
        settings["method"], shard_files(arguments.windows, arguments.shards), **options
    )
    table = selection_table(
        windows["data_id"],
        windows["score"],
        keep=settings["keep"],
        category=windows["category"],
        num_tokens=[settings["window_tokens"]] * len(windows),
        # LongAttn's released code filters all categories together.
        ratio_within_category=settings.get("mode") != "released",
    )
    write_table(
        arguments.selection,
        "selection",
        table.to_dict("records"),
        settings=settings,
        inputs=inputs,
        code_digest=code_digest("select_windows"),
    )
    print(f"{arguments.selection}: {int(table['kept'].sum())} of {len(table)} windows kept")


if __name__ == "__main__":
    run_script(main)
