import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.corpora.clean_up import CleanUp, printable_share, repeated_line_share
from longspan.corpora.ngrams import overlap_share, reference_ngrams, word_ngrams

WORDS = [
    "the",
    "old",
    "house",
    "by",
    "the",
    "river",
    "and",
    "a",
    "little",
    "light",
    "in",
    "the",
    "garden",
    "of",
    "silence",
]
TEXT = " ".join(WORDS)
sentences = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


@settings(deadline=None)
@given(text=st.text())
def test_printable_characters_are_those_that_python_prints_and_white_space(text):
    found = sum((one.isprintable() or one.isspace()) and one != "\ufffd" for one in text)
    assert printable_share(text) == (found / len(text) if text else 1.0)


def test_repeated_lines_count_by_their_characters():
    assert repeated_line_share("ab\nab\n\n\ncdef\n  ab  ") == pytest.approx(4 / 10)
    assert repeated_line_share("") == repeated_line_share("\n\n") == 0.0


@given(words=sentences, others=st.lists(sentences, max_size=3), length=st.integers(1, 4))
def test_overlap_is_the_share_of_ngrams_that_the_references_have(words, others, length):
    def ngrams(words):
        return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]

    references = reference_ngrams([" ".join(other) for other in others], length)
    known = {ngram for other in others for ngram in ngrams(other)}
    assert len(references) == len(known)
    mine = ngrams(words)
    expected = sum(ngram in known for ngram in mine) / len(mine) if mine else 0.0
    assert overlap_share(" ".join(words), references, length) == expected


def test_ngrams_pass_over_case_marks_and_spaces_and_stay_the_same():
    found = word_ngrams(TEXT, 13)
    assert found.dtype == np.uint64
    assert np.array_equal(found, word_ngrams(", ".join(WORDS).upper() + "!\n", 13))
    # Stored tables hold them: another process must find the same.
    assert int(word_ngrams("one two", 2)[0]) == STORED


STORED = 17898366591077449017


@pytest.mark.parametrize(
    ("settings", "text", "reason", "detail"),
    [
        ({"min_characters": 6}, "short", "too short", "has 5 characters, fewer than 6"),
        ({"min_printable_share": 0.9}, "a\x01b\ufffd", "unprintable", "prints 50.0% of its characters"),
        (
            {"max_repeated_line_share": 0.4},
            "ab\nab",
            "repeated lines",
            "has 50.0% of its text in lines that stood before",
        ),
        (
            {"references": reference_ngrams([TEXT], 13), "max_overlap_share": 0.01},
            f"So said she: {TEXT}.",
            "overlap",
            "shares 50.0% of its 13-grams with held-out text",
        ),
    ],
)
def test_what_is_left_out_is_said_with_its_measure(settings, text, reason, detail):
    fault = CleanUp(**settings).fault_of(text)
    assert (fault.reason, fault.detail) == (reason, detail)
    assert CleanUp().fault_of(text) is None


def test_a_measure_on_its_bound_is_kept():
    assert CleanUp(min_characters=5).fault_of("short") is None
    assert CleanUp(min_printable_share=0.5).fault_of("a\x01b\ufffd") is None
    assert CleanUp(max_repeated_line_share=0.5).fault_of("ab\nab") is None
    references = reference_ngrams([TEXT], 13)
    assert CleanUp(references=references, max_overlap_share=0.5).fault_of(f"So said she: {TEXT}.") is None
