import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.corpora.clean_up import CleanUp
from longspan.corpora.ngrams import (
    overlap_share,
    reference_ngrams,
    references_of,
    short_overlap_share,
    word_ngrams,
)

QUESTIONS = [f"What did captain number {number} find under the old bridge?" for number in range(30)]


def clean_up_of(texts, ngram_words=13, max_overlap_share=0.01):
    references = references_of(texts, ngram_words)
    long = references.pop(ngram_words)
    return CleanUp(
        references=long,
        short_references=references,
        ngram_words=ngram_words,
        max_overlap_share=max_overlap_share,
    )


def test_questions_shorter_than_an_ngram_are_found_whole():
    clean_up = clean_up_of(QUESTIONS)
    fault = clean_up.fault_of("\n".join(QUESTIONS))
    assert (fault.reason, fault.detail) == ("overlap", "has 100.0% of its words in whole held-out texts")
    draw = random.Random(0)
    words = ["the", "old", "captain", "number", "bridge", "find", "under", "what", "did"]
    assert clean_up.fault_of(" ".join(draw.choice(words) for _ in range(3000))) is None
    # One among many words is below the share, as one n-gram of a long reference is.
    assert clean_up.fault_of("word " * 2000 + QUESTIONS[3]) is None
    assert clean_up.fault_of("word " * 900 + QUESTIONS[3]).detail.startswith("has 1.1% of its words")


sentences = st.lists(st.sampled_from("abc"), max_size=30)


@given(words=sentences, others=st.lists(st.lists(st.sampled_from("abc"), min_size=5, max_size=8), max_size=3))
def test_the_share_is_that_of_the_words_in_whole_references(words, others):
    references = references_of([" ".join(other) for other in others], 9)
    references.pop(9)
    covered = set()
    for other in others:
        for start in range(len(words) - len(other) + 1):
            if words[start : start + len(other)] == other:
                covered |= set(range(start, start + len(other)))
    expected = len(covered) / len(words) if words else 0.0
    assert short_overlap_share(" ".join(words), references) == pytest.approx(expected)


def test_texts_of_very_few_words_count_where_they_are_a_line():
    references = references_of(["Yes.", "No, thanks"], 13)
    references.pop(13)
    assert short_overlap_share("Oh yes, said he; no, thanks, said she.", references) == 0
    assert short_overlap_share("Oh\nyes\n\nNO THANKS!\nsaid she", references) == pytest.approx(3 / 6)
    assert short_overlap_share("yes", references) == 1


def test_texts_are_compared_in_one_normal_form():
    text = "Le café où l'élève a déjà ﬁni — ½ ｆｕｌｌ ÉTÉ ça et là, voilà"
    expected = word_ngrams(text, 5)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert word_ngrams(unicodedata.normalize(form, text), 5).tolist() == expected.tolist()
    assert word_ngrams(text.upper(), 5).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好我们一起去公园散步吧明天再说好不好呢朋友们",
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
        "ภาษาไทยไม่มีช่องว่างระหว่างคำเหมือนภาษาอังกฤษเลยนะครับ",
        "ພາສາລາວບໍ່ມີຊ່ອງວ່າງລະຫວ່າງຄຳ",
        "ភាសាខ្មែរមិនមានចន្លោះរវាងពាក្យទេ",
        "မြန်မာဘာသာစကားသည်ခြားနားသည်",
        "བོད་ཀྱི་སྐད་ཡིག་ནི་བོད་ཡིག་གི་སྒྲ",
    ],
)
def test_scripts_without_spaces_are_compared_by_characters(text):
    references = reference_ngrams([text], 13)
    assert len(references) > 5
    around = "前言" + text + "后记"
    assert overlap_share(around, references, 13) > 0.3
    letters = list(text)
    random.Random(0).shuffle(letters)
    assert overlap_share("".join(letters), references, 13) == 0
    # A short one is found whole too.
    fault = clean_up_of([text[:8]]).fault_of(f"前言{text[:8]}后记")
    assert fault.reason == "overlap"


def test_spaced_scripts_keep_their_words():
    import re
    from hashlib import blake2b

    text = "Ein Bär_1 im Wald; Москва слезам не верит 서울은 크다 हिन्दी में أهلا وسهلا"
    plain = [
        int.from_bytes(blake2b(word.casefold().encode(), digest_size=8).digest(), "little")
        for word in re.findall(r"\w+", text)
    ]
    assert word_ngrams(text, 1).tolist() == plain


def test_blocks_of_a_long_text_change_nothing():
    word = "日本é "
    text = word * 600_000
    assert len(word_ngrams(text, 2)) == 3 * 600_000 - 1
