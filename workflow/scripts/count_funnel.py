"""Write the funnel: documents, windows and tokens at each step, with the reasons of what is left out.

    python workflow/scripts/count_funnel.py --settings '{"corpora": {"books": {…}}, "windowings": {…}, …}' \
        --funnel results/funnel.tsv
"""

from pathlib import Path

from longspan.artifacts import atomic_path
from longspan.command_line import parser_for, run_script
from longspan.funnel import COLUMNS, funnel_rows
from longspan_workflow.shards import HELD_OUT, shard_files


def main(argv=None):
    """Write the table as tab-separated values; its settings name the tables to read."""
    parser = parser_for(__doc__)
    parser.add_argument("--funnel", type=Path, required=True, help="tab-separated values to write")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    def files(folder, shards):
        return list(shard_files(Path(folder), shards).values())

    rows = funnel_rows(
        corpora={
            name: {
                "documents": files(block["documents"], block["shards"]),
                "held_out": [Path(block["documents"], f"{HELD_OUT}.parquet")],
                "dropped": [
                    *files(block["dropped"], block["shards"]),
                    Path(block["dropped"], f"{HELD_OUT}.parquet"),
                ],
            }
            for name, block in settings["corpora"].items()
        },
        windowings={name: files(**block) for name, block in settings["windowings"].items()},
        selections=settings["selections"],
    )
    with atomic_path(arguments.funnel) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in [COLUMNS, *rows]))


if __name__ == "__main__":
    run_script(main)
