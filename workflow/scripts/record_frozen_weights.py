"""Say that every frozen score store of the runs is collected, with counts and digests.

    python workflow/scripts/record_frozen_weights.py --indexes results/scores/books-2k/short/index.parquet \
        --done results/frozen_weights.done
"""

import json
from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.store.tables import atomic_path, open_table


def main(argv=None):
    """Write one JSON object with an entry a store."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--indexes", type=Path, nargs="*", default=[], help="indexes of the stores")
    parser.add_argument("--done", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)

    stores = {}
    for path in arguments.indexes:
        _, manifest = open_table(path, "score_index")
        name = f"{path.parent.parent.name}/{path.parent.name}"
        shards = {name: digest for name, digest in manifest.inputs.items() if name.startswith("scores/")}
        stores[name] = {"windows": manifest.rows, "index": manifest.data_digest, "shards": shards}
    with atomic_path(arguments.done) as temporary:
        temporary.write_text(json.dumps(stores, indent=1, sort_keys=True) + "\n")
    for name, store in stores.items():
        print(f"{name}: {store['windows']} windows in {len(store['shards'])} shards")


if __name__ == "__main__":
    run_script(main)
