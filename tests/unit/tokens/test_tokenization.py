import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from longspan.tokens import tokenization
from longspan.tokens.tokenization import DocumentTokenizer, encode_batches, tokenizer_identity
from tiny_inputs import make_model

TEXT = "the old house by the river — café, naïve, 🌊 and a little light in the garden. " * 5
# Characters of one to four bytes, joined ones, and what the tokenizer's own special tokens look like.
characters = st.text(
    st.one_of(st.sampled_from("the river é—🌊👩\u200d🚀日本\n\t\u0301<s>"), st.characters(codec="utf-8")),
    max_size=40,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_model(folder, [TEXT])
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return DocumentTokenizer(folder)


@pytest.fixture(scope="module")
def reference(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@given(text=characters)
def test_ids_are_those_of_the_models_own_tokenizer(tokenizer, reference, text):
    document = tokenizer.encode(text)
    assert document.input_ids.dtype == np.int32
    assert document.input_ids.tolist() == reference(text, add_special_tokens=False).input_ids


@given(text=characters)
def test_boundaries_cut_the_text_without_gaps(tokenizer, reference, text):
    document = tokenizer.encode(text)
    boundaries = np.cumsum(document.char_deltas)
    assert len(boundaries) == len(document.input_ids) + 1
    assert (np.diff(boundaries) >= 0).all()
    if text:
        assert (boundaries[0], boundaries[-1]) == (0, len(text))
    else:
        assert document.char_deltas.tolist() == [0]
    splits = set(document.split_positions.tolist())
    for token, (start, stop) in enumerate(itertools.pairwise(boundaries)):
        # A token that neither begins nor ends inside a character is exactly its slice of the text.
        if token not in splits and token + 1 not in splits:
            assert reference.decode(document.input_ids[token]) == text[start:stop]


@given(text=characters, data=st.data())
def test_a_slice_holds_every_character_that_its_tokens_touch(tokenizer, reference, text, data):
    document = tokenizer.encode(text)
    boundaries, splits = np.cumsum(document.char_deltas), document.split_positions
    first = data.draw(st.integers(0, len(document.input_ids)))
    last = data.draw(st.integers(first, len(document.input_ids)))
    if first == last:
        return
    content = text[boundaries[first] : boundaries[last] + (last in splits)].encode()
    tokens = [reference.convert_ids_to_tokens(int(token)) for token in document.input_ids]
    before, inside, after = (b"".join(map(bytes_of, part)) for part in split(tokens, first, last))
    assert before + inside + after == text.encode()
    # At most a character's other three bytes come on top, at each end.
    assert inside in content
    assert len(content) - len(inside) <= 3 * ((first in splits) + (last in splits))


def split(tokens, first, last):
    return tokens[:first], tokens[first:last], tokens[last:]


def bytes_of(token):
    """The bytes of a byte-level token; GPT-2's alphabet shifts those that do not print."""
    if token in ("<pad>", "<s>", "</s>"):
        return token.encode()
    shifted = iter(range(256, 512))
    printing = {*range(33, 127), *range(161, 173), *range(174, 256)}
    table = {chr(byte if byte in printing else next(shifted)): byte for byte in range(256)}
    return bytes(table[character] for character in token)


def test_tokens_that_begin_inside_a_character_are_marked(tokenizer):
    document = tokenizer.encode("aऄb")  # a character that the vocabulary does not have whole
    assert len(document.input_ids) == 5
    assert document.split_positions.tolist() == [2, 3]
    assert np.cumsum(document.char_deltas).tolist() == [0, 1, 1, 1, 2, 3]


def test_a_tokenizer_that_adds_bos_trims_offsets_or_truncates_does_not(tmp_path, folder):
    """What a tokenizer.json says for prompts must not touch documents."""
    plain = DocumentTokenizer(folder).encode(TEXT)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=512)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    document = DocumentTokenizer(tmp_path).encode(TEXT)
    for name, values in vars(plain).items():
        assert getattr(document, name).tolist() == values.tolist()
    assert tokenizer_identity(tmp_path) == tokenizer_identity(folder)


def test_identity_is_that_of_the_mapping_from_text_to_ids(tmp_path, folder):
    content = json.loads((folder / "tokenizer.json").read_text())

    def identity(**changes):
        (tmp_path / "tokenizer.json").write_text(json.dumps(content | changes))
        return tokenizer_identity(tmp_path)

    same = tokenizer_identity(folder)
    assert identity() == identity(decoder=None) == same
    swapped = dict(content["model"]["vocab"])
    swapped["a"], swapped["b"] = swapped["b"], swapped["a"]
    others = {
        identity(model=content["model"] | {"vocab": swapped}),
        identity(added_tokens=content["added_tokens"][:-1]),
        identity(normalizer={"type": "NFC"}),
        identity(pre_tokenizer=None),
    }
    assert len(others | {same}) == 5


def test_batches_are_tokenized_ahead_and_stay_in_order(monkeypatch):
    """One large batch among them waits for those before it, and those behind it wait for it."""
    monkeypatch.setattr(tokenization, "_LARGE_BATCH_CHARACTERS", 50)
    batches = [[f"text {number}" * (9 if number % 4 == 2 else 1)] for number in range(11)]
    read = []

    class Slow:
        def encode_batch(self, texts):
            time.sleep(0.02 * (len(texts[0]) % 3))
            return texts

    def reading():
        for batch in batches:
            read.append(batch)
            yield batch

    for number, found in enumerate(encode_batches(Slow(), reading())):
        assert found == batches[number]
        assert len(read) <= number + 4
    assert read == batches
