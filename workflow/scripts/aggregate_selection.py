"""Count what a selection adds to the report: scores, the method's own numbers, cuts, windows to look at.

    python workflow/scripts/aggregate_selection.py --selection results/selections/best.parquet \
        --windows results/windows/books-2k --scores results/scores/books-2k/layer0 --shards 2 \
        --aggregate results/aggregates/selections/best.json
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.page.aggregates import write_aggregate
from longspan.reporting.page.selections import selection_counts
from longspan.selection.method import SELECTION_METHODS
from longspan.selection.scores import ShardTables, own_numbers
from longspan.store.code import code_digest
from longspan.store.shards import shard_files
from longspan.store.tables import read_table


def main(argv=None):
    """Write the counts of one selection."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--selection", required=True, help="table of the selection")
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--scores", nargs="?", type=Path, help="folder of the scores that it chose by")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--aggregate", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)

    table, manifest = read_table(arguments.selection, "selection")
    method = SELECTION_METHODS.of_settings("method", manifest.settings)
    rows, inputs = table.to_pandas(), {"selection": manifest.data_digest}
    # A stage of a cascade has no score of what fell before it, and its store has no numbers of them.
    scored = rows.dropna(subset=["score"])
    axes = method.axes if len(scored) == len(rows) else ()
    rows = scored
    if axes:
        folders = {"windows": arguments.windows, "scores": arguments.scores}
        paths = {name: shard_files(folder, arguments.shards) for name, folder in folders.items()}
        shards = (
            ShardTables(shard, **{name: files[shard] for name, files in paths.items()})
            for shard in paths["windows"]
        )
        numbers = own_numbers(method, shards, manifest.inputs)
        rows = rows.merge(numbers[["data_id", *axes]], on="data_id", validate="one_to_one")
    write_aggregate(
        arguments.aggregate,
        selection_counts(rows, axes, method.label),
        settings=manifest.settings,
        inputs=inputs,
        code_digest=code_digest(Path(__file__), SELECTION_METHODS.source_file(method.name)),
    )
    print(f"{arguments.aggregate}: {len(rows)} windows")


if __name__ == "__main__":
    run_script(main)
