import json
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from longspan.tokens import tokenization
from longspan.tokens.byte_level import ByteLevelTokenizer, checked_tokenizer
from longspan.tokens.tokenization import DocumentTokenizer

pytest.importorskip("fastokens", reason="the extra 'fast' is not installed")

# How Llama 3 splits a text before it merges.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
SPLITTING = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm2": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), BYTES]),
}
TEXT = (
    "It's the old house by the river — café, naïve, 🌊 日本語, 12345 lights,    in\n\n\tthe GARDEN's end. "
    * 5
)
SPECIAL = ["<s>", "</s>", "<|end|>"]
texts = st.text(
    st.one_of(
        st.sampled_from("the river's é—🌊👩\u200d🚀日本\n\t\r\u0301 \u00a0\u3000\u2028129"),
        st.characters(codec="utf-8"),
    ),
    max_size=60,
)
with_specials = st.lists(
    st.one_of(texts, st.sampled_from([*SPECIAL, "  ", "\n\n\n", "<|en"])), max_size=5
).map("".join)


def write_tokenizer(folder, splitting):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitting
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module", params=SPLITTING)
def folder(request, tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp(request.param), SPLITTING[request.param])


@pytest.fixture(scope="module")
def fast(folder):
    return ByteLevelTokenizer(folder, DocumentTokenizer(folder))


@pytest.fixture(scope="module")
def ordinary(folder):
    return DocumentTokenizer(folder)


def assert_same(found, expected):
    for name, values in vars(expected).items():
        assert vars(found)[name].dtype == values.dtype
        assert vars(found)[name].tolist() == values.tolist(), name


@settings(deadline=None)
@given(batch=st.lists(with_specials, max_size=4))
def test_ids_and_offsets_are_the_ordinary_tokenizers(fast, ordinary, batch):
    assert_same(fast.encode_batch(batch), ordinary.encode_batch(batch))


def test_a_batch_is_its_documents(fast):
    batch = [TEXT, "", "日本語🌊", ""]
    documents = fast.encode_batch(batch).documents()
    assert len(documents) == 4
    for text, document in zip(batch, documents, strict=True):
        assert_same(document, fast.encode_batch([text]).documents()[0])
        assert sum(document.char_deltas) == len(text)


def test_tokens_that_begin_inside_a_character_are_marked(fast):
    (document,) = fast.encode_batch(["aऄb"]).documents()
    assert document.split_positions.tolist() == [2, 3]
    assert np.cumsum(document.char_deltas).tolist() == [0, 1, 1, 1, 2, 3]


def long_text(seed):
    draw = random.Random(seed)
    pieces = ["the river ", "é—🌊", "日本語", " " * 70, "\n" * 9, "12345678", "x" * 90, "<s>", "It's "]
    return "".join(draw.choice(pieces) for _ in range(400))


@pytest.mark.parametrize("seed", range(5))
def test_a_text_in_pieces_has_the_tokens_of_the_whole(fast, ordinary, seed, monkeypatch):
    text = long_text(seed)
    whole = ordinary.encode(text)
    monkeypatch.setattr(tokenization, "PIECE_CHARACTERS", 700)
    monkeypatch.setattr("longspan.tokens.byte_level.PIECE_CHARACTERS", 700)
    monkeypatch.setattr(tokenization, "OVERLAP_CHARACTERS", 600)
    assert_same(ordinary.encode(text), whole)
    assert_same(fast.encode_batch(["a", text]).documents()[1], whole)


def test_pieces_that_disagree_become_one(fast, ordinary, monkeypatch):
    """A run of digits is split from its start on; a piece that begins inside it splits it elsewhere."""
    calls = []
    text = "a" + "1" * 400
    whole = ordinary.encode(text)
    monkeypatch.setattr(tokenization, "PIECE_CHARACTERS", 100)
    monkeypatch.setattr("longspan.tokens.byte_level.PIECE_CHARACTERS", 100)
    monkeypatch.setattr(tokenization, "OVERLAP_CHARACTERS", 50)
    encode_piece = DocumentTokenizer._encode_piece
    monkeypatch.setattr(
        DocumentTokenizer,
        "_encode_piece",
        lambda self, piece, first: calls.append(len(piece)) or encode_piece(self, piece, first),
    )
    found = ordinary.encode(text)
    assert_same(found, whole)
    assert_same(fast.encode_batch([text]).documents()[0], found)


def changed(folder, tmp_path, change):
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda content: content.update(normalizer=json.loads(normalizers.NFC().__getstate__())),
            "it has a normalizer",
        ),
        (lambda content: content["model"].update(dropout=0.1), "it drops merges at random"),
        (
            lambda content: content.update(pre_tokenizer={"type": "WhitespaceSplit"}),
            "it is not byte-level",
        ),
        (
            lambda content: content["added_tokens"][0].update(lstrip=True),
            "its added tokens take spaces with them",
        ),
    ],
)
def test_other_tokenizers_take_the_ordinary_way_and_it_is_said_why(folder, tmp_path, change, fault):
    tokenizer, said = checked_tokenizer(changed(folder, tmp_path, change), [TEXT])
    assert isinstance(tokenizer, DocumentTokenizer)
    assert said == f"tokenizing with tokenizers, not fastokens: {fault}"


def test_a_tokenizer_that_puts_a_space_first_takes_the_ordinary_way(tmp_path):
    write_tokenizer(tmp_path, pre_tokenizers.ByteLevel(add_prefix_space=True))
    _, said = checked_tokenizer(tmp_path, [TEXT])
    assert said == "tokenizing with tokenizers, not fastokens: it puts a space before a text"


def test_without_fastokens_the_ordinary_tokenizer_serves(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastokens", None)
    tokenizer, said = checked_tokenizer(folder, [TEXT])
    assert isinstance(tokenizer, DocumentTokenizer)
    assert said == "tokenizing with tokenizers, not fastokens: fastokens is not installed"


def test_a_sample_on_which_they_differ_is_named(folder, tmp_path, monkeypatch):
    """Another tokenizer under the same name: as if fastokens were wrong about this one."""
    changed(folder, tmp_path, lambda content: content["model"].update(merges=[]))
    wrong = ByteLevelTokenizer(tmp_path, DocumentTokenizer(folder))
    monkeypatch.setattr("longspan.tokens.byte_level.ByteLevelTokenizer", lambda *_: wrong)
    tokenizer, said = checked_tokenizer(folder, ["a", "the river"])
    assert isinstance(tokenizer, DocumentTokenizer)
    assert said == "tokenizing with tokenizers, not fastokens: they differ on 'the river' of the sample"
    same, said = checked_tokenizer(folder, ["a"])
    assert same is wrong
    assert said == "tokenizing with fastokens: it agrees with tokenizers on a sample of 1 characters"


def test_texts_with_a_byte_that_the_vocabulary_lacks_take_the_ordinary_way(tmp_path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(["the river"], trainers.BpeTrainer(vocab_size=40, show_progress=False))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ordinary = DocumentTokenizer(tmp_path)
    fast = ByteLevelTokenizer(tmp_path, ordinary)
    taken, encode = [], ordinary.encode
    ordinary.encode = lambda text: taken.append(text) or encode(text)
    batch = ["the river", "the qiver", "", "Q", "hé"]
    found = fast.encode_batch(batch)
    assert taken == ["the qiver", "Q", "hé"]
    assert_same(found, ordinary.encode_batch(batch))


def test_tokens_that_are_not_the_texts_bytes_take_the_ordinary_way(fast, ordinary, monkeypatch):
    """A length that is wrong must not give wrong offsets."""
    wrong = fast._token_bytes.copy()
    wrong[fast.encode_batch(["the"]).input_ids[0]] += 1
    monkeypatch.setattr(fast, "_token_bytes", wrong)
    for batch in (["the river"], ["x", "the"]):
        assert_same(fast.encode_batch(batch), ordinary.encode_batch(batch))
