from random import Random

import pytest

from longspan.evaluation.haystack import Haystack, Stretch, put_into, without_words


def test_sentences_stand_whole_where_they_are_put():
    text = "One two. Three four.\nFive."
    whole, spans = put_into(text, [(0, "First."), (9, "Middle."), (len(text), "Last.")])
    assert [whole[start:stop] for start, stop in spans] == ["First.", "Middle.", "Last."]
    assert whole == "First.\nOne two. Middle. Three four.\nFive. Last. "
    assert whole.replace("First.\n", "").replace("Middle. ", "").replace(" Last. ", "") == text


def test_seams_are_behind_sentences_and_lines():
    stretch = Stretch("work", "One two. Three “four.” Five\nsix. Seven")
    assert [stretch.text[seam : seam + 3] for seam in stretch.seams] == [
        "One",
        "Thr",
        "Fiv",
        "six",
        "Sev",
        "",
    ]
    assert stretch.seam_at(0) == 0
    assert stretch.seam_at(1) == len(stretch.text)
    assert stretch.text[stretch.seam_at(0.55) :].startswith("Five")


@pytest.mark.parametrize("tokens", [50, 400, 1500])
def test_a_stretch_is_of_one_work_and_about_as_long_as_asked(tokenizer, works, tokens):
    haystack = Haystack(tokenizer, works)
    for seed in range(5):
        stretch = haystack.draw(tokens, Random(seed))
        text = next(work.text for work in works if work.document_id == stretch.document_id)
        assert stretch.text in text
        assert tokens * 0.7 < len(tokenizer.encode(stretch.text)[0]) <= tokens + 2
        assert haystack.draw(tokens, Random(seed)) == stretch


def test_a_stretch_longer_than_each_work_is_of_several_and_none_comes_twice(tokenizer, works):
    haystack = Haystack(tokenizer, works)
    tokens = sum(haystack.tokens) - 20
    stretch = haystack.draw(tokens, Random(0))
    for work in works:
        assert stretch.text.count(work.text[200:300]) == 1
    with pytest.raises(ValueError, match="the held-out works beside work 0 have"):
        haystack.draw(tokens, Random(0), apart_from="work 0")


def test_a_work_is_left_out(tokenizer, works):
    haystack = Haystack(tokenizer, works)
    drawn = {haystack.draw(60, Random(seed), apart_from="work 0").document_id for seed in range(20)}
    assert drawn == {"work 1", "work 2"}


def test_without_works_there_is_no_haystack(tokenizer):
    with pytest.raises(ValueError, match="there is no held-out work; name works under hold_out of a source"):
        Haystack(tokenizer, [])


def test_words_go_from_the_end():
    assert without_words("One two three  four", 2) == "One two"
    assert without_words("One", 5) == ""
