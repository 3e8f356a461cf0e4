"""Prompts and answers as token ids, by a model's own tokenizer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from longspan.models.folders import read_manifest
from longspan.tokens.tokenization import DocumentTokenizer

# Tokens at a prompt's end that are tokenized again with an answer behind them.
_TAIL_TOKENS = 256


@dataclass(frozen=True)
class Prompt:
    """A prompt's text and what becomes of it.

    Attributes:
        text: all of it, as the model gets it, but for the ids in front.
        input_ids: int32 [P], the tokenizer's own ids in front among them.
        firsts: int64 [P], character of `text` at which each token begins; 0 of the ids in front.
        in_front: how many of `input_ids` stand in front of the text.
        offset: character of `text` at which the text that was asked for begins: behind a chat template's
            beginning, 0 elsewhere.
    """

    text: str
    input_ids: np.ndarray
    firsts: np.ndarray
    in_front: int = 0
    offset: int = 0

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Tokens that hold these characters of the text that was asked for."""
        start, stop = start + self.offset, stop + self.offset
        first = int(np.searchsorted(self.firsts, start, side="right")) - 1
        return max(first, 0), int(np.searchsorted(self.firsts, stop, side="left"))


class PromptTokenizer:
    """Tokenizes prompts, and answers behind them.

    Args:
        model: manifest of the model whose tokenizer it is.

    Raises:
        ValueError: the manifest or a file beside it is missing or damaged.
    """

    def __init__(self, model: Path | str):
        self.model = Path(model)
        manifest = read_manifest(self.model)["tokenizer"]
        self.identity: str = manifest["identity"]
        bos = [manifest["bos_token_id"]] if manifest["adds_bos"] else []
        self.prefix_ids = np.array(manifest.get("prefix_token_ids", bos), np.int32)
        self._tokenizer = DocumentTokenizer(self.model.parent)

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a text without any in front, int32 [N], and their first characters, int64 [N]."""
        tokens = self._tokenizer.encode(text)
        return tokens.input_ids, np.cumsum(tokens.char_deltas, dtype=np.int64)[:-1]

    def decode(self, input_ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self._tokenizer.tokenizer.decode([int(token) for token in input_ids])

    def prompt(self, text: str) -> Prompt:
        """A text to go on with, as a base model reads it: the tokenizer's own ids in front, then the text."""
        input_ids, firsts = self.encode(text)
        count = len(self.prefix_ids)
        return Prompt(
            text,
            np.concatenate([self.prefix_ids, input_ids]),
            np.concatenate([np.zeros(count, np.int64), firsts]),
            in_front=count,
        )

    def chat(self, text: str, lead: str = "") -> Prompt:
        """A user's turn by the model's chat template, and how the model's own turn begins.

        Args:
            text: what the user says.
            lead: the beginning of the answer, put behind the template's.

        Raises:
            ValueError: the model has no chat template, or it changes the text.
        """
        if self._chat_template is None:
            raise ValueError(
                f"{self.model.parent} has no chat template; set prompt: base, or take a model with one"
            )
        turns = [{"role": "user", "content": text}]
        rendered = self._chat_template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        offset = rendered.find(text)
        if offset < 0:
            raise ValueError(
                f"the chat template of {self.model.parent} changes the text that it is given; set "
                "prompt: base"
            )
        # A template says itself what stands in front.
        input_ids, firsts = self.encode(rendered + lead)
        return Prompt(rendered + lead, input_ids, firsts, offset=offset)

    def answer(self, prompt: Prompt, answer: str) -> np.ndarray:
        """Ids of an answer behind a prompt, int32 [A].

        Both together are tokenized, so that they are the ids that the whole text has.

        Raises:
            ValueError: the answer is empty, or the whole has a token that begins in the prompt and ends in
                the answer.
        """
        if not answer:
            raise ValueError("an answer has no text; give it one")
        bare = prompt.input_ids[prompt.in_front :]
        # The end alone, where it has the ids that it has in the whole.
        count = min(len(bare), _TAIL_TOKENS)
        start = int(prompt.firsts[-count]) if count else 0
        before = bare[-count:] if count else bare
        if not np.array_equal(self.encode(prompt.text[start:])[0], before):
            start, before = 0, bare
        whole, _ = self.encode(prompt.text[start:] + answer)
        if len(whole) <= len(before) or not np.array_equal(whole[: len(before)], before):
            raise ValueError(
                f"the tokenizer of {self.model.parent} merges the end of the prompt "
                f"({prompt.text[-20:]!r}) with the beginning of the answer ({answer[:20]!r}), so the answer "
                "has no ids of its own; begin the answer with a space, or end the prompt without one"
            )
        return whole[len(before) :]

    @cached_property
    def _chat_template(self) -> Any:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            self.model.parent, local_files_only=True, trust_remote_code=False
        )
        return tokenizer if tokenizer.chat_template else None

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Ids by which the model ends a text: the tokenizer's, and those that its configs name."""
        found: set[int] = set()
        for name in ("config.json", "generation_config.json"):
            path = self.model.parent / name
            if path.is_file():
                value = json.loads(path.read_text()).get("eos_token_id")
                found.update(value if isinstance(value, list) else [] if value is None else [value])
        path = self.model.parent / "tokenizer_config.json"
        if path.is_file():
            token = json.loads(path.read_text()).get("eos_token")
            token = token.get("content") if isinstance(token, dict) else token
            number = self._tokenizer.tokenizer.token_to_id(token) if token else None
            found.update([] if number is None else [number])
        return frozenset(found)
