"""Model folders in Hugging Face form, and the manifests that identify them.

A folder is whole when it holds its manifest, longspan.json, which is written last.
"""

import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer

from longspan.artifacts import SCHEMA_VERSION, atomic_path, digest_file, digest_of
from longspan.tokenization import tokenizer_identity

MANIFEST_NAME = "longspan.json"


def empty_folder(folder: Path) -> None:
    """Make a model folder anew, without what a broken attempt left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy a model's tokenizer files, so that the folder loads on its own."""
    for path in (
        *source.glob("tokenizer*"),
        *source.glob("special_tokens_map.json"),
        *source.glob("*.jinja"),
    ):
        shutil.copyfile(path, folder / path.name)


def finish_model(
    folder: Path, *, source: dict, license: str, max_position_embeddings: int | None = None
) -> None:
    """Check a filled folder and write its manifest.

    Args:
        folder: config.json, weights and tokenizer.
        source: where they came from.
        license: licence of the weights.
        max_position_embeddings: positions that the config.json must have, if any are declared.

    Raises:
        ValueError: a config.json that has other positions than declared, no weights, or no tokenizer.
    """
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if None not in (found, max_position_embeddings) and found != max_position_embeddings:
        raise ValueError(
            f"the model's config.json says max_position_embeddings {found}, the settings say "
            f"{max_position_embeddings}; correct the settings"
        )
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"the model of {source} has no weights: no file ends in .safetensors")
    if not (folder / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        try:
            AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the model of {source} has no tokenizer.json, nor a tokenizer that becomes one ({reason})"
            ) from None
    bos_token_id = config.get("bos_token_id")
    adds = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("").ids
    files = {
        path.name: {"size_bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST_NAME
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "source": source,
        "license": license,
        "files": files,
        "tokenizer": {
            "identity": tokenizer_identity(folder),
            "bos_token_id": bos_token_id,
            "adds_bos": bos_token_id is not None and adds[:1] == [bos_token_id],
        },
    }
    with atomic_path(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(path: Path | str) -> dict:
    """Read a model's manifest and check that its files are there; `digest` identifies the model.

    Raises:
        ValueError: the manifest is missing or of another schema version, or a file is missing or cut short.
    """
    path = Path(path)
    again = f"delete {path} and run the same target again, which makes the model anew"
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; run the same target again, which makes the model") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no model manifest ({error}); {again}") from None
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {manifest.get('schema_version')}, "
            f"this longspan reads {SCHEMA_VERSION}; {again}"
        )
    for name, file in manifest["files"].items():
        size = (path.parent / name).stat().st_size if (path.parent / name).exists() else None
        if size != file["size_bytes"]:
            state = "is missing" if size is None else f"has {size} bytes instead of {file['size_bytes']}"
            raise ValueError(f"{path.parent / name} {state}; {again}")
    hashes = {name: file["sha256"] for name, file in manifest["files"].items()}
    return manifest | {"digest": digest_of(hashes)}
