"""Model folders in Hugging Face form, and the manifests that identify them.

A folder is whole when it holds its manifest, longspan.json, which is written last.
"""

import json
import shutil
from pathlib import Path

from longspan.models.checkpoint_index import INDEX_NAME, SINGLE_NAME, first_layer_files
from longspan.models.config_file import read_config, refuse_own_code
from longspan.store.contracts import SCHEMA_VERSION
from longspan.store.pointers import HEAD_BYTES, pointer_in
from longspan.store.tables import atomic_path, digest_file, digest_of, read_json_manifest
from longspan.tokens.beginning import beginning_of
from longspan.tokens.tokenization import tokenizer_identity

MANIFEST_NAME = "longspan.json"
WEIGHTS = (".safetensors", ".bin")
_AGAIN = "delete {} and run the same target again, which makes the model anew"


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
    folder: Path,
    *,
    source: dict,
    license: str,
    max_position_embeddings: int | None = None,
    first_layer_only: bool = False,
) -> None:
    """Check a filled folder and write its manifest.

    Args:
        folder: config.json, weights and tokenizer.
        source: where they came from.
        license: licence of the weights.
        max_position_embeddings: positions that the config.json must have, if any are declared.
        first_layer_only: the files that hold nothing of the embedding or layer 0 may be missing.

    Raises:
        ValueError: no config.json, weights or tokenizer, a pointer of Git in place of one, or a config.json
            that has other positions than declared, is none, or names code of its own that would have to be
            run.
    """
    _require_no_pointers(folder, source)
    weights, of_first_layer = _weight_files(folder)
    for name in ["config.json", *(of_first_layer if first_layer_only else weights)]:
        if not (folder / name).is_file():
            raise ValueError(f"the model's {name} is missing; complete the folder or repository of {source}")
    whole_config = read_config(folder / "config.json")
    refuse_own_code(whole_config, source)
    config = whole_config.get("text_config", whole_config)
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if None not in (found, max_position_embeddings) and found != max_position_embeddings:
        raise ValueError(
            f"the model's config.json says max_position_embeddings {found}, the settings say "
            f"{max_position_embeddings}; correct the settings"
        )
    if not (folder / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        try:
            AutoTokenizer.from_pretrained(folder, trust_remote_code=False).save_pretrained(folder)
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the model of {source} has no tokenizer.json, nor a tokenizer that becomes one ({reason})"
            ) from None
    beginning = beginning_of(folder)
    prefix = list(beginning.prefix_token_ids)
    adds_bos = len(prefix) == 1
    # The tokenizer knows best; a config.json may name another token than it adds, or none.
    named = (beginning.bos_token_id, config.get("bos_token_id"), whole_config.get("bos_token_id"))
    bos_token_id = prefix[0] if adds_bos else next((one for one in named if one is not None), None)
    # What else lies in the folder, a README say, is no part of the model.
    names = ["config.json", "tokenizer.json", *(name for name in weights if (folder / name).is_file())]
    files = {
        name: {"size_bytes": (folder / name).stat().st_size, "sha256": digest_file(folder / name)}
        for name in sorted(names)
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "source": source,
        "license": license,
        "files": files,
        "first_layer_files": of_first_layer,
        "tokenizer": {
            "identity": tokenizer_identity(folder),
            "bos_token_id": bos_token_id,
            "adds_bos": adds_bos,
            **({"prefix_token_ids": prefix} if len(prefix) > 1 else {}),
        },
    }
    with atomic_path(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(path: Path | str) -> dict:
    """Read a model's manifest and check that its files are there.

    `digest` identifies the model, `first_layer_digest` what its first layer is computed from.

    Raises:
        ValueError: the manifest is missing or of another schema version, or a file is missing, cut short or,
            beside the weights, damaged.
    """
    path = Path(path)
    again = _AGAIN.format(path)
    manifest = read_json_manifest(path, what="a model", makes="makes the model", again=again)
    for name, file in manifest["files"].items():
        size = (path.parent / name).stat().st_size if (path.parent / name).exists() else None
        if size != file["size_bytes"]:
            state = "is missing" if size is None else f"has {size} bytes instead of {file['size_bytes']}"
            raise ValueError(f"{path.parent / name} {state}; {again}")
        if not name.endswith(WEIGHTS):
            _require_intact(path.parent / name, file["sha256"], again)
    hashes = {name: file["sha256"] for name, file in manifest["files"].items()}
    first_layer = {name: hashes[name] for name in ["config.json", *manifest["first_layer_files"]]}
    return manifest | {"digest": digest_of(hashes), "first_layer_digest": digest_of(first_layer)}


def require_intact_weights(folder: Path, *, first_layer_only: bool = False) -> None:
    """Refuse weights that are not those that the folder's manifest was written for.

    It reads them whole. A folder without a manifest is not checked.

    Args:
        folder: the model's folder.
        first_layer_only: leave out files that hold nothing of the first layer.

    Raises:
        ValueError: naming the file.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return
    again = _AGAIN.format(path)
    manifest = json.loads(path.read_text())
    read = manifest["first_layer_files"] if first_layer_only else manifest["files"]
    for name, file in manifest["files"].items():
        if name.endswith(WEIGHTS) and name in read:
            _require_intact(folder / name, file["sha256"], again)


def _require_intact(path: Path, expected: str, again: str) -> None:
    if (found := digest_file(path)) != expected:
        raise ValueError(
            f"{path} is damaged or another one: its sha256 is {found[:12]}, the manifest says "
            f"{expected[:12]}; {again}"
        )


def _require_no_pointers(folder: Path, source: dict) -> None:
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            said = pointer_in(file.read(HEAD_BYTES))
        if said:
            raise ValueError(f"the model's {path.name} is {said} in the folder or repository of {source}")


def _weight_files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of all weight files, and of those that hold the embedding and layer 0."""
    if not (folder / INDEX_NAME).is_file():
        return [SINGLE_NAME], [SINGLE_NAME]
    index = json.loads((folder / INDEX_NAME).read_text())
    return sorted(set(index["weight_map"].values())), first_layer_files(index)
