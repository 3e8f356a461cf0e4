import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.ruler.niah import NeedleDrawer, PairsOfWords, SentenceHaystack
from longspan.evaluation.ruler.prompts import TaskWords
from longspan.evaluation.ruler.sentences import PunktParameters, SentenceSplitter
from tiny_ruler import ADJECTIVES, NOUNS

WORD = st.text("ab-", min_size=1, max_size=4)


@given(st.lists(WORD, min_size=1, max_size=8), st.lists(WORD, min_size=1, max_size=8))
def test_pairs_are_the_sorted_set_of_all(adjectives, nouns):
    expected = sorted({f"{adjective}-{noun}" for adjective in adjectives for noun in nouns})
    pairs = PairsOfWords(adjectives, nouns)
    assert [pairs[index] for index in range(len(pairs))] == expected


def test_a_choice_among_pairs_takes_the_draws_of_a_choice_in_a_list():
    pairs = PairsOfWords(ADJECTIVES, NOUNS)
    listed = [pairs[index] for index in range(len(pairs))]
    one, other = random.Random(5), random.Random(5)
    assert [one.choice(pairs) for _ in range(50)] == [other.choice(listed) for _ in range(50)]


def drawer(haystack=None, **given):
    options = {
        "type_haystack": "repeat",
        "type_needle_k": "words",
        "type_needle_v": "numbers",
        "num_needle_k": 1,
        "num_needle_v": 1,
        "num_needle_q": 1,
    }
    words = TaskWords("Some {type_needle_v}:\n{context}\nWhich are all of {query}?", " They are")
    return NeedleDrawer(
        words, PairsOfWords(ADJECTIVES, NOUNS), haystack, length_tokens=4096, seed=1, **(options | given)
    )


def test_one_answer_is_asked_for_in_the_singular():
    prompt = drawer().draw(25).prompt
    assert prompt.startswith("A number:\n")
    assert prompt.endswith("? They is")
    assert "Which is of" in prompt


def test_several_answers_are_asked_for_in_the_plural():
    draw = drawer(num_needle_q=4).draw(25)
    assert draw.prompt.startswith("Some numbers:\n")
    assert draw.prompt.count("One of the special magic numbers for") == len(draw.answers) == 4
    assert ", and " in draw.prompt.rpartition("all of ")[2]


@pytest.mark.parametrize("kind", ["words", "numbers", "uuids"])
def test_every_answer_stands_behind_its_key_once(kind):
    draw = drawer(type_haystack="needle", type_needle_k=kind, type_needle_v="uuids").draw(50)
    key = draw.prompt.rpartition("Which is of ")[2].removesuffix("? They is")
    lines = [
        line for line in draw.prompt.splitlines() if line.startswith("One of the special magic uuids for")
    ]
    assert len(lines) == 51
    assert f"One of the special magic uuids for {key} is: {draw.answers[0]}." in lines


def test_needles_lie_between_sentences_and_the_text_is_whole():
    text = " ".join(f"Word{number} is here." for number in range(400))
    splitter = SentenceSplitter(PunktParameters(frozenset(), frozenset(), frozenset(), {}))
    draw = drawer(SentenceHaystack(text, splitter, "a text"), type_haystack="essay", num_needle_v=4).draw(900)
    context = draw.prompt.split("\n")[1]
    for answer in draw.answers:
        before, _, after = context.partition(f"is: {answer}.")
        sentence = before.rpartition("One of the special magic numbers")[0]
        assert sentence == "" or sentence.rstrip().endswith(".")
        context = (sentence.rstrip() + " " + after.lstrip()).strip()
    assert context == " ".join(text.split()[:900])


def test_text_of_many_spaces_is_words():
    splitter = SentenceSplitter(PunktParameters(frozenset(), frozenset(), frozenset(), {}))
    assert SentenceHaystack("one\n\n two\tthree", splitter, "a text").words == ["one", "two", "three"]
