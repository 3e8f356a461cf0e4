"""Write the data card of an export, the README.md in its folder.

    python workflow/scripts/write_data_card.py --settings '{"title": "best", "sources": […], …}' \
        --manifests results/exports/best/manifests --shards 2 --ending parquet \
        --card results/exports/best/README.md
"""

from pathlib import Path

from longspan.exports.data_card import data_card
from longspan.exports.windows import read_export_manifest
from longspan.fetching.hub_revisions import pinned_commit
from longspan.process.command_line import parser_for, run_script
from longspan.store.shards import shard_names
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write the card; its settings are the arguments of `data_card`."""
    parser = parser_for(__doc__)
    parser.add_argument("--manifests", type=Path, required=True, help="folder of the shards' manifests")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--ending", required=True, help="ending of the shards' files")
    parser.add_argument("--revisions", nargs="?", type=Path, help="the hub's commits, by pin_revisions")
    parser.add_argument("--card", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)

    manifests = [
        read_export_manifest(arguments.manifests / f"{name}.{arguments.ending}.json")
        for name in shard_names(arguments.shards)
    ]
    for part in (*arguments.settings["sources"], *arguments.settings["models"]):
        if pin := part.pop("pin"):
            part["source"] += f" (commit {pinned_commit(arguments.revisions, pin)})"
    card = data_card(manifests=manifests, **arguments.settings)
    with atomic_path(arguments.card) as temporary:
        temporary.write_text(card)
    windows = sum(manifest["windows"] for manifest in manifests)
    print(f"{arguments.card.parent}: {windows} windows in {len(manifests)} shards")


if __name__ == "__main__":
    run_script(main)
