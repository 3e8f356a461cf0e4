"""Say which documents go into which shard of a corpus; shards that are planned keep what they have.

    python workflow/scripts/plan_shards.py --settings '{"sources": […], "shards": 2}' \
        --plan-folder results/corpora/books/plan --index results/corpora/books/plan.json

The index holds the digest of each shard's plan, so that a shard runs again when its own plan changed.
"""

import glob
import json
from pathlib import Path

from longspan.artifacts import atomic_path, digest_file
from longspan.command_line import parser_for, run_script
from longspan.documents import list_items
from longspan.shard_plans import assign_items, read_plan, write_plan
from longspan_workflow.shards import HELD_OUT, shard_names


def main(argv=None):
    """Plan a corpus, one file a shard, and write their index last."""
    parser = parser_for(__doc__)
    parser.add_argument("--plan-folder", type=Path, required=True, help="where the plans are, and go")
    parser.add_argument("--index", type=Path, required=True, help="digests of the plans to write")
    arguments = parser.parse_args(argv)

    training, held_out = [], []
    for source in arguments.settings["sources"]:
        files = [
            Path(path) for pattern in source["paths"] for path in sorted(glob.glob(pattern)) or [pattern]
        ]
        kept, held = list_items(source, files)
        training += kept
        held_out += held

    paths = {path.stem: path for path in arguments.plan_folder.glob("*.json")}
    previous = {shard: read_plan(path) for shard, path in paths.items() if shard != HELD_OUT}
    plan = assign_items(training, shard_names(arguments.settings["shards"]), previous)
    digests = {}
    for shard, items in {**plan, HELD_OUT: sorted(held_out, key=lambda item: item.place)}.items():
        path = arguments.plan_folder / f"{shard}.json"
        write_plan(path, items)
        digests[shard] = digest_file(path)
        print(f"shard {shard}: {len(items)} pieces, {sum(item.size_bytes for item in items):,} bytes")
    with atomic_path(arguments.index) as temporary:
        temporary.write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
