"""What a model's tokenizer puts in front of a text."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

_TEXT = "a"


@dataclass(frozen=True)
class Beginning:
    """The special tokens in front of a text, and the token that the tokenizer names as its BOS, if any."""

    prefix_token_ids: tuple[int, ...]
    bos_token_id: int | None


def beginning_of(folder: Path | str) -> Beginning:
    """What the tokenizer of a Hugging Face model folder itself adds to a text, as transformers loads it.

    Where transformers cannot load it, its tokenizer.json says what is added, and no BOS is named.

    Raises:
        ValueError: a tokenizer.json that is none.
    """
    try:
        tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
    except Exception as error:  # tokenizers raises nothing narrower
        reason = " ".join(str(error).split())
        raise ValueError(f"the model's tokenizer.json is none that tokenizers reads ({reason})") from None
    mask = tokenizer.encode(_TEXT).special_tokens_mask
    added = mask.index(0) if 0 in mask else 0
    fallback = Beginning(tuple(tokenizer.encode(_TEXT).ids[:added]), None)

    from transformers import AutoTokenizer

    try:
        # Settings beside tokenizer.json, as add_bos_token, have the last word.
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        whole = loaded(_TEXT).input_ids
        bare = loaded(_TEXT, add_special_tokens=False).input_ids
        bos_token_id = loaded.bos_token_id
    except Exception:  # each tokenizer's class raises its own
        return fallback
    places = range(len(whole) - len(bare) + 1)
    place = next((place for place in places if whole[place : place + len(bare)] == bare), None)
    return fallback if place is None else Beginning(tuple(whole[:place]), bos_token_id)
