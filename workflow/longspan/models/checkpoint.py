"""Tensors of a Hugging Face checkpoint, read one by one."""

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open

from longspan.models.checkpoint_index import INDEX_NAME, SINGLE_NAME

_OTHER_TOWER = re.compile(r"vision|visual|image|audio|speech|mtp", re.IGNORECASE)


class Checkpoint:
    """The tensors of a Hugging Face folder by name, each read when asked for."""

    def __init__(self, model_dir: Path, model: str):
        """Read the names alone, of a model so called; ValueError for a folder without safetensors."""
        self.model_dir = model_dir
        self.model = model
        index, single = model_dir / INDEX_NAME, model_dir / SINGLE_NAME
        if index.is_file():
            self.file_of: dict[str, str] = json.loads(index.read_text())["weight_map"]
        elif single.is_file():
            with safe_open(single, framework="pt") as tensors:
                self.file_of = dict.fromkeys(tensors.keys(), SINGLE_NAME)
        else:
            raise ValueError(f"{model_dir} holds neither {INDEX_NAME} nor {SINGLE_NAME}")

    def read(self, name: str) -> torch.Tensor:
        """The tensor of that name, or of the one name that ends as it does; ValueError if none or missing."""
        names = self._stored_as(name)
        if len(names) != 1:
            found = "no tensor" if not names else f"{len(names)} tensors"
            raise ValueError(f"{self.model_dir} holds {found} for the first layer's {name} of {self.model}")
        path = self.model_dir / self.file_of[names[0]]
        if not path.is_file():
            raise ValueError(
                f"{path} is missing, and the first layer's {names[0]} is in it: fetch the files that "
                "first_layer_files names"
            )
        with safe_open(path, framework="pt") as tensors:
            return tensors.get_tensor(names[0])

    def _stored_as(self, name: str) -> list[str]:
        """Names that a module's tensor may be stored under."""
        if name in self.file_of:
            return [name]
        # A checkpoint may have been saved with or without the head, or inside a larger model.
        parts = name.split(".")
        for first in range(len(parts) - 1):
            end = ".".join(parts[first:])
            names = [stored for stored in self.file_of if stored == end or stored.endswith(f".{end}")]
            if len(names) > 1:
                # A vision tower has layers of the same names.
                names = [stored for stored in names if not _OTHER_TOWER.search(stored)] or names
            if names:
                return names
        return []
