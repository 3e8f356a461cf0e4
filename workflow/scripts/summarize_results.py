"""Write the short table of what the chain did.

    python workflow/scripts/summarize_results.py --settings '{"corpora": {"books": {"folder": "…", …}}, …}' \
        --text results/summary.txt --table results/summary.tsv
"""

from pathlib import Path

from longspan.artifacts import atomic_path
from longspan.command_line import parser_for, run_script
from longspan.summary import format_rows, summary_rows
from longspan_workflow.layout import shard_files


def main(argv=None):
    """Write the table as text and as tab-separated values; its settings name the tables to read."""
    parser = parser_for(__doc__)
    parser.add_argument("--text", type=Path, required=True, help="aligned text to write")
    parser.add_argument("--table", type=Path, required=True, help="tab-separated values to write")
    arguments = parser.parse_args(argv)

    settings = dict(arguments.settings)
    for kind in ("corpora", "windowings", "stores"):
        settings[kind] = {
            name: list(shard_files(Path(block["folder"]), block["shards"]).values())
            for name, block in settings[kind].items()
        }
    rows = summary_rows(**settings)
    header = ("quantity", "name", "value")
    with atomic_path(arguments.table) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]))
    with atomic_path(arguments.text) as temporary:
        temporary.write_text(format_rows(rows) + "\n")


if __name__ == "__main__":
    run_script(main)
