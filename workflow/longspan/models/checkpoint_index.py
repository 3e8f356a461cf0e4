"""Which files of a sharded checkpoint hold what, by its index. Imports no torch."""

import re
from collections.abc import Mapping

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:\w*embed\w*|wte|wpe|tok_emb\w*|per_layer_\w+|altup_\w+)(?:\.|$)")


def first_layer_files(index: Mapping) -> list[str]:
    """Files of a sharded checkpoint that hold the embedding or the first layer, sorted.

    Args:
        index: the parsed ``model.safetensors.index.json``.

    Raises:
        ValueError: an index without an embedding or without a layer 0.
    """
    layer_zero, embedding = set(), set()
    for name, file in index["weight_map"].items():
        layer = _LAYER.search(name)
        if layer is not None:
            if int(layer[1]) == 0:
                layer_zero.add(file)
        elif _EMBEDDING.search(name):
            embedding.add(file)
    for what, files in (("a layer 0", layer_zero), ("an embedding", embedding)):
        if not files:
            raise ValueError(
                f"{INDEX_NAME} names no tensor of {what}; it begins with {min(index['weight_map'])}"
            )
    return sorted(layer_zero | embedding)
