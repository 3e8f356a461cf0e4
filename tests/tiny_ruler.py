"""Small wheels in the form of those that RULER's tasks are read from, with words of their own."""

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

from local_index import write_wheel
from longspan.evaluation.ruler.published import ARCHIVES, PinnedArchive, Published

_NEEDLE_TASKS = {
    "niah_single_1": ("repeat", "words", "numbers", 1, 1, 1),
    "niah_single_2": ("essay", "words", "numbers", 1, 1, 1),
    "niah_single_3": ("essay", "words", "uuids", 1, 1, 1),
    "niah_multikey_1": ("essay", "words", "numbers", 4, 1, 1),
    "niah_multikey_2": ("needle", "words", "numbers", 1, 1, 1),
    "niah_multikey_3": ("needle", "uuids", "uuids", 1, 1, 1),
    "niah_multivalue": ("essay", "words", "numbers", 1, 4, 1),
    "niah_multiquery": ("essay", "words", "numbers", 1, 1, 4),
}
_NEEDLE_KEYS = (
    "type_haystack",
    "type_needle_k",
    "type_needle_v",
    "num_needle_k",
    "num_needle_v",
    "num_needle_q",
)
# (tokens, template, answer prefix), worded so that what the generators replace and look for is in them.
_TEXTS = {
    "niah": (
        128,
        "Some {type_needle_v} are said below.\n{context}\nWhich are all {type_needle_v} of {query}?",
        " The {type_needle_v} of {query} are",
    ),
    "variable_tracking": (
        30,
        "Follow the variables.\n\n{context}\nQuestion: which ones have the value {query}?",
        " Answer: {num_v} variables have the value {query}, and they are: ",
    ),
    "common_words_extraction": (
        120,
        "A list.\n{context}\nWhich are common?",
        " Answer: the common ones are:",
    ),
    "freq_words_extraction": (
        50,
        "A code. {context}\nWhich are frequent?",
        " Answer: the frequent ones are:",
    ),
    "qa": (32, "Answer by these.\n\n{context}\n\nQuestion: {query}", " Answer:"),
}
_ALL, _PART = "string_match_all", "string_match_part"
_METRICS = dict.fromkeys(_TEXTS, _ALL) | {"qa": _PART}
ADJECTIVES = ("far", "far-flung", "old", "deep", "quiet", "blue", "old", "slow-moving", "slow")
NOUNS = ("sea", "flung-sea", "river", "moving", "lamp", "door", "sea")


def write_archives(folder: Path, essay_words: int = 12_000) -> tuple[list[Path], list[PinnedArchive]]:
    """Write the three wheels; their paths, and what they are pinned as."""
    draw = random.Random(0)
    vocabulary = [
        "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 4))) for _ in range(900)
    ]
    texts = f"TASKS = {_as_source({kind: _texts(*parts) for kind, parts in _TEXTS.items()})}\n"
    # Names of functions stand there, no strings.
    metrics = ", ".join(f"{kind!r}: {{'metric_fn': {metric}}}" for kind, metric in _METRICS.items())
    data = "long_context_eval/data/synthetic"
    ruler = {
        "long_context_eval/synthetic.yaml": json.dumps(_tasks()).encode(),
        f"{data}/constants.py": texts.encode(),
        "long_context_eval/eval/synthetic/constants.py": f"TASKS = {{{metrics}}}\n".encode(),
        f"{data}/json/PaulGrahamEssays.json": json.dumps(
            {"text": _prose(draw, vocabulary, essay_words)}
        ).encode(),
        f"{data}/json/squad.json": json.dumps(_squad(draw, vocabulary)).encode(),
        f"{data}/json/hotpotqa.json": json.dumps(_hotpotqa(draw, vocabulary)).encode(),
    }
    assets = "wonderwords/assets"
    words = {
        f"{assets}/adjectivelist.txt": "\n".join(ADJECTIVES).encode() + b"\n",
        f"{assets}/nounlist.txt": "\n".join(NOUNS).encode() + b"\n",
        f"{assets}/verblist.txt": "\n".join(vocabulary).encode() + b"\n",
    }
    learned = {
        "ABBREV_TYPES": "frozenset(('mr', 'u.s', 'etc'))",
        "COLLOCATIONS": "frozenset((('##number##', 'river'),))",
        "SENT_STARTERS": "frozenset(('the', 'it'))",
        "ORTHO_CONTEXT": "{'the': 126, 'it': 126, 'river': 32, 'smith': 4}",
    }
    punkt = {
        "punkt/data/english.py": "".join(f"{name} = {value}\n" for name, value in learned.items()).encode()
    }
    paths, pinned = [], []
    for archive, files in zip(ARCHIVES, (ruler, words, punkt), strict=True):
        name, version = archive.requirement.split("==")
        path, sha256 = write_wheel(folder, name, version, files)
        paths.append(path)
        pinned.append(replace(archive, archive=path.name, sha256=sha256))
    return paths, pinned


def tiny_published(folder: Path, **options) -> Published:
    """What is read from small wheels that are written there."""
    paths, pinned = write_archives(folder, **options)
    return Published(*paths, archives=pinned)


def digest(prompts: list[str]) -> str:
    """Digest of some texts in their order."""
    return hashlib.sha256("\0".join(prompts).encode()).hexdigest()


def _texts(tokens: int, template: str, answer_prefix: str) -> dict:
    return {"tokens_to_generate": tokens, "template": template, "answer_prefix": answer_prefix}


def _tasks() -> dict:
    tasks = {
        name: {"task": "niah", "args": dict(zip(_NEEDLE_KEYS, values, strict=True))}
        for name, values in _NEEDLE_TASKS.items()
    }
    tasks["vt"] = {"task": "variable_tracking", "args": {"num_chains": 1, "num_hops": 4}}
    arguments = {"freq_cw": 30, "freq_ucw": 3, "num_cw": 10}
    tasks["cwe"] = {"task": "common_words_extraction", "args": arguments}
    tasks["fwe"] = {"task": "freq_words_extraction", "args": {"alpha": 2.0}}
    for name, dataset in (("qa_1", "squad"), ("qa_2", "hotpotqa")):
        tasks[name] = {"task": "qa", "args": {"dataset": dataset}}
    return tasks


def _as_source(value: object) -> str:
    return repr(value)


def _prose(draw: random.Random, vocabulary: list[str], words: int) -> str:
    """Text with what makes sentences hard to find."""
    marks = (
        ". ",
        ".  ",
        "? ",
        '." ',
        ".\n",
        "... ",
        ". ",
        " U.S. ",
        " Mr. Smith ",
        " 3. river ",
        " J. Smith. ",
        "!) ",
    )
    parts = []
    while len(" ".join(parts).split()) < words if len(parts) < 50 else len(parts) * 8 < words:
        sentence = " ".join(draw.choices(vocabulary, k=draw.randint(3, 12)))
        parts.append(sentence.capitalize() + draw.choice(marks))
    return "".join(parts)


def _squad(draw: random.Random, vocabulary: list[str]) -> dict:
    articles = []
    for _ in range(30):
        paragraphs = []
        for _ in range(draw.randint(4, 15)):
            context = " ".join(draw.choices(vocabulary, k=draw.randint(10, 30)))
            questions = [
                {
                    "question": f"What is {number}?",
                    "is_impossible": draw.random() < 0.3,
                    "answers": [{"text": word} for word in draw.sample(context.split(), 2)],
                }
                for number in range(3)
            ]
            paragraphs.append({"context": context, "qas": questions})
        articles.append({"paragraphs": paragraphs})
    return {"data": articles}


def _hotpotqa(draw: random.Random, vocabulary: list[str]) -> list[dict]:
    pages = [
        [f"Page {number}", [" ".join(draw.choices(vocabulary, k=8)) for _ in range(draw.randint(1, 3))]]
        for number in range(400)
    ]
    return [
        {"question": f"Who is {number}?", "answer": f"number {number}", "context": draw.sample(pages, 10)}
        for number in range(40)
    ]
