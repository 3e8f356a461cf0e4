"""List the windows that a selection keeps: all that a job of one shard needs to know of it.

    python workflow/scripts/list_kept_windows.py --selection results/selections/best.parquet \
        --kept results/selections/best.kept.parquet
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import read_table, write_table


def main(argv=None):
    """Write the list."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--selection", required=True, help="selection table")
    parser.add_argument("--kept", required=True, help="table of kept windows to write")
    arguments = parser.parse_args(argv)

    table, manifest = read_table(arguments.selection, "selection", ["data_id", "kept"])
    windows = {name: digest for name, digest in manifest.inputs.items() if name.startswith("windows/")}
    kept = table.filter(table.column("kept")).select(["data_id"])
    write_table(
        arguments.kept,
        "kept_windows",
        kept,
        settings={},
        inputs=windows | {"selection": manifest.data_digest},
        code_digest=code_digest(Path(__file__)),
    )
    print(f"{arguments.kept}: {len(kept)} windows")


if __name__ == "__main__":
    run_script(main)
