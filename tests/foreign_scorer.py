"""A scorer of another architecture with a tokenizer file of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tiny_inputs import POSITIONS


def add_token(tokenizer: dict) -> None:
    """Another file with the same ids: one more special token, which no text holds."""
    token = tokenizer["added_tokens"][0] | {"id": 400, "content": "<more>"}
    tokenizer["added_tokens"].append(token)


def make_foreign_scorer(
    inputs: Path,
    change: Callable[[dict], None] = add_token,
    vocabulary: int = 402,
    bos_token: str = "<s>",
) -> Path:
    """Write a GPT-2 whose tokenizer.json is the tiny model's after a change; its folder."""
    folder = inputs / "gpt2"
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=1, n_head=2, n_positions=POSITIONS,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    names = json.loads((inputs / "model/tokenizer_config.json").read_text()) | {"bos_token": bos_token}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    tokenizer = json.loads((inputs / "model/tokenizer.json").read_text())
    change(tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder
