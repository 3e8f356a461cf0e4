import numpy as np
import pytest

from longspan.evaluation.generated import input_rows
from longspan.evaluation.tasks.cloze import Cloze


def rows(task, sources, length=128, seed=3):
    return list(input_rows(task, sources, length=length, seed=seed))


def test_a_word_of_each_work_in_turn_that_the_passage_does_not_hold(sources):
    made = rows(Cloze(samples=9, foils=2), sources)
    assert [row["document_id"] for row in made] == [f"work {number % 3}" for number in range(9)]
    texts = {work.document_id: work.text for work in sources.documents}
    for row in made:
        passage = sources.tokenizer.decode(row["prompt_ids"])
        word, *foils = (sources.tokenizer.decode(ids) for ids in row["candidate_ids"])
        assert word == f" {row['answers'][0]}"
        assert f"{passage}{word}" in texts[row["document_id"]]
        assert len({word, *foils}) == 3
        for other in (word, *foils):
            assert other.islower()
            assert other.strip() not in passage.lower().split()


def test_passages_are_short_and_no_word_is_asked_for_twice(sources):
    made = rows(Cloze(samples=20), sources)
    assert all(64 <= len(row["prompt_ids"]) <= 108 for row in made)
    assert len({(row["document_id"], tuple(row["prompt_ids"])) for row in made}) == 20


def test_more_samples_leave_the_others(sources):
    few, more = rows(Cloze(samples=4), sources), rows(Cloze(samples=8), sources)
    for row, other in zip(few, more, strict=False):
        np.testing.assert_array_equal(row["prompt_ids"], other["prompt_ids"])


def test_a_work_that_gives_no_more_words_is_named(sources):
    with pytest.raises(
        ValueError, match=r"work work \d gives no \d+ words for samples; lower samples, or hold out"
    ):
        rows(Cloze(samples=2000), sources)


def test_a_passage_without_room_is_refused():
    with pytest.raises(ValueError, match="a length of 20 tokens leaves no passage before a word"):
        Cloze(lengths=[20, 128]).check_window(2048)


@pytest.mark.parametrize(("nll", "score"), [([1.0, 2.0, 3.0], 1), ([2.0, 3.0, 1.0], 0), ([2.0, 2.0], 0)])
def test_the_score_is_whether_the_word_is_likeliest(nll, score):
    assert Cloze().score(None, nll, None) == score
