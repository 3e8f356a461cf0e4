"""Llama-3-8B: the settings that name it, and its shape as its config.json has it."""

from pathlib import Path

import yaml

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "configs" / "llama3-8b-32k.yaml").read_text())
SHAPE = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
