"""Upload an export with its data card to a dataset of the Hugging Face hub; what is there already stays.

    HF_TOKEN=… python workflow/scripts/publish_export.py --settings '{"repo": "me/best", "private": true}' \
        --folder results/exports/best --shards 2 --ending parquet --record results/exports/best/published.json
"""

import json
from pathlib import Path

from longspan.exports.upload import upload_dataset
from longspan.exports.windows import read_export_manifest
from longspan.fetching.hub_token import require_sendable_token, token
from longspan.process.command_line import parser_for, run_script
from longspan.store.shards import shard_names
from longspan.store.tables import atomic_path, digest_file


def main(argv=None):
    """Upload, and write down what is there then."""
    parser = parser_for(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the export")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--ending", required=True, help="ending of the shards' files")
    parser.add_argument("--record", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    settings, folder = arguments.settings, arguments.folder

    require_sendable_token()
    if (own_token := token()) is None:
        raise ValueError(f"HF_TOKEN is not set; set it to a token that may write to {settings['repo']}")
    digests = {}
    for shard in shard_names(arguments.shards):
        name = f"{shard}.{arguments.ending}"
        manifest_path, path = folder / "manifests" / f"{name}.json", folder / "data" / name
        digests[f"data/{name}"] = read_export_manifest(manifest_path)["sha256"]
        if not path.is_file() or digest_file(path) != digests[f"data/{name}"]:
            raise ValueError(
                f"{path} is not what {manifest_path} says; delete both and run the same target again, "
                "which reruns export_windows"
            )
    files = {path: folder / path for path in digests}
    record = upload_dataset(files=files, card=folder / "README.md", token=own_token, **settings)
    print(f"{record['repo']}: {len(record.pop('uploaded'))} files uploaded, {len(files) + 1} are there")
    with atomic_path(arguments.record) as temporary:
        temporary.write_text(json.dumps(record | {"files": digests}, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
