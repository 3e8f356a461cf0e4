"""Rank windows by a score over all shards, and say which are kept and why.

    python workflow/scripts/select_windows.py --settings '{"method": "longattn", "mode": "paper", …}' \
        --windows results/windows/books-2k --scores results/scores/books-2k/layer0 --shards 2 \
        --selection results/selections/best-quarter.parquet
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.selection.cascade import EarlierStage, stage_table
from longspan.selection.method import SELECTION_METHODS
from longspan.selection.scores import ShardTables, score_windows
from longspan.selection.table import selection_table
from longspan.store.code import code_digest
from longspan.store.shards import shard_files
from longspan.store.tables import write_table

SOURCES = {
    "scores": "tables of scores, for a method that chooses by them",
    "documents": "tables of documents, for a method that looks at texts",
    "tokens": "tables of tokens, for a method that looks at token ids",
}


def main(argv=None):
    """Write the selection table."""
    parser = parser_for(__doc__)
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    for name, what in SOURCES.items():
        parser.add_argument(f"--{name}", type=Path, help=f"folder of {what}")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--before", nargs="?", help="table of the stage before, of a later stage")
    parser.add_argument("--selection", required=True, help="table to write")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    method = SELECTION_METHODS.of_settings("method", settings)
    tables = {
        name: shard_files(folder, arguments.shards)
        for name in ("windows", *SOURCES)
        if (folder := getattr(arguments, name)) is not None
    }
    shards = (
        ShardTables(shard, **{name: paths[shard] for name, paths in tables.items()})
        for shard in tables["windows"]
    )
    before = EarlierStage.read(arguments.before) if arguments.before else None
    windows, inputs = score_windows(method, shards, seed=settings.get("seed"), before=before)
    table = selection_table(
        windows["data_id"],
        windows["score"],
        keep=settings["keep"],
        category=windows["category"],
        num_tokens=[settings["window_tokens"]] * len(windows),
        ratio_within_category=method.ratio_within_category,
    )
    if (stage := settings.get("stage")) is not None:
        earlier = None if before is None else before.table
        table = stage_table(table, stage=stage, method=method.name, before=earlier)
    write_table(
        arguments.selection,
        "selection",
        table.to_dict("records"),
        settings=settings,
        inputs=inputs,
        code_digest=code_digest(Path(__file__), SELECTION_METHODS.source_file(method.name)),
    )
    print(f"{arguments.selection}: {int(table['kept'].sum())} of {len(windows)} windows kept")


if __name__ == "__main__":
    run_script(main)
