"""Say which documents go into which shard of a corpus; shards that are planned keep what they have.

    python workflow/scripts/plan_shards.py --settings '{"sources": […], "shards": 2}' \
        --plan-folder results/corpora/books/plan --index results/corpora/books/plan.json

The index holds the digest of each shard's plan, so that a shard runs again when its own plan changed, and of
what the plan was made from.
"""

import json
from pathlib import Path

from longspan.corpora.held_out import mark_held_out, require_one_path
from longspan.corpora.items import list_items
from longspan.corpora.plan_index import made_from, plan_index, raw_files
from longspan.corpora.plans import assign_items, read_plan, write_plan
from longspan.corpora.raw_paths import passed_over, raw_paths, said
from longspan.corpora.repeats import mark_repeats
from longspan.corpora.samples import sample_listings
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.shards import HELD_OUT, shard_names
from longspan.store.tables import atomic_path, digest_file


def main(argv=None):
    """Plan a corpus, one file a shard, and write their index last."""
    parser = parser_for(__doc__)
    parser.add_argument("--plan-folder", type=Path, required=True, help="where the plans are, and go")
    parser.add_argument("--index", type=Path, required=True, help="digests of the plans to write")
    arguments = parser.parse_args(argv)

    settings = arguments.settings
    source_digest = made_from(settings, raw_files(settings), code_digest(Path(__file__)))
    paths = {path.stem: path for path in arguments.plan_folder.glob("*.json")}
    previous = {shard: read_plan(path) for shard, path in paths.items() if shard != HELD_OUT}
    planned = [item for items in previous.values() for item in items]

    training, held_out = [], []
    with_marks = any(source["hold_out"] for source in settings["sources"])
    for source in settings["sources"]:
        for folder, counts in passed_over(source["paths"]).items():
            print(f"{folder}: not read: {said(counts)}", flush=True)
        files = map(Path, raw_paths(source["paths"]))
        kept, held = list_items(source, files, with_marks=with_marks)
        if "sample" in source:
            kept = sample_listings(kept, planned, settings["seed"], **source["sample"])
        training += kept
        held_out += held

    held_out.sort(key=lambda listing: listing.item.place)
    require_one_path(training)
    training = mark_held_out(held_out, training)
    plan = assign_items([listing.item for listing in training], shard_names(settings["shards"]), previous)
    listing_of = {listing.item.key: listing for listing in training}
    ordered = [listing_of[item.key] for items in plan.values() for item in items]
    held_items, items = mark_repeats(held_out, ordered, planned, drop_duplicates=settings["drop_duplicates"])
    by_key = {item.key: item for item in items}
    plan = {shard: [by_key[item.key] for item in items] for shard, items in plan.items()}
    digests = {}
    for shard, items in {**plan, HELD_OUT: held_items}.items():
        path = arguments.plan_folder / f"{shard}.json"
        write_plan(path, items)
        digests[shard] = digest_file(path)
        print(f"shard {shard}: {len(items)} pieces, {sum(item.size_bytes for item in items):,} bytes")
    with atomic_path(arguments.index) as temporary:
        temporary.write_text(json.dumps(plan_index(source_digest, digests), indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
