"""A tiny model's folder with its manifest, and a few held-out works."""

import random

import pytest

from longspan.corpora.documents import Document
from longspan.evaluation.generated import TaskSources
from longspan.evaluation.prompts import PromptTokenizer
from longspan.models.folders import finish_model
from tiny_inputs import make_model

_WORDS = " ".join(
    f"{first}{second}"
    for first in (
        "riv",
        "ston",
        "morn",
        "wind",
        "gard",
        "lett",
        "mount",
        "sil",
        "capt",
        "dau",
        "vill",
        "jour",
    )
    for second in ("er", "ing", "ow", "en", "ain", "ence", "ey", "age", "ost", "uld")
)


def prose(words: int, seed: int) -> str:
    """Sentences in paragraphs, with names that come again."""
    draw, parts, count = random.Random(seed), [], 0
    people = ("Marianne", "Godfrey", "Lavinia", "Tobias")
    while count < words:
        length = draw.randint(5, 12)
        sentence = " ".join(draw.choice(_WORDS.split()) for _ in range(length))
        name = draw.choice(people)
        parts.append(f"{sentence.capitalize()} {name} {draw.choice(_WORDS.split())}{draw.choice('.!?')}")
        count += length + 2
    lines = [" ".join(parts[start : start + 4]) for start in range(0, len(parts), 4)]
    return "\n\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def works() -> list[Document]:
    """Three works of unlike lengths."""
    return [
        Document(f"work {number}", "books", "prose", "CC0-1.0", f"Work {number}", prose(words, number))
        for number, words in enumerate((900, 400, 150))
    ]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, works):
    """A random Llama with a byte-level BPE."""
    folder = tmp_path_factory.mktemp("model")
    sentences = ["The special codes of the wooden anchor that the text holds are 12345, 67890."]
    make_model(folder, [*(work.text for work in works), *sentences])
    finish_model(folder, source={"kind": "folder"}, license="CC0-1.0")
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_folder) -> PromptTokenizer:
    """Its tokenizer."""
    return PromptTokenizer(model_folder / "longspan.json")


@pytest.fixture(scope="session")
def sources(tokenizer, works) -> TaskSources:
    """What prompts are made of."""
    return TaskSources(tokenizer, works)
