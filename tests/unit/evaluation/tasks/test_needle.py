import re

import numpy as np
import pytest

from longspan.evaluation.generated import input_rows
from longspan.evaluation.tasks.needle import Needle

VARIANTS = ["single", "multi_key", "multi_value"]


def rows(task, sources, length=320, seed=3):
    return list(input_rows(task, sources, length=length, seed=seed))


def text_of(sources, ids):
    return sources.tokenizer.decode(ids)


def test_a_sample_for_each_variant_depth_and_number(sources):
    task = Needle(variants=VARIANTS, depths=[0, 0.5, 1], samples=2, codes=2)
    made = rows(task, sources)
    assert len(made) == task.cost(320).samples == 18
    assert len({row["sample_id"] for row in made}) == 18
    for row in made:
        assert 320 - 60 < len(row["prompt_ids"]) + row["new_tokens"] <= 320
        assert row["document_id"] in {"work 0", "work 1", "work 2"}
        assert (row["depth"] is None) == (row["group"] == "multi_value")


@pytest.mark.parametrize("form", ["digits", "words"])
def test_the_prompt_asks_for_what_stands_in_it_once(sources, form):
    for row in rows(Needle(variants=VARIANTS, depths=[0.25], samples=3, codes=2, form=form), sources):
        text = text_of(sources, row["prompt_ids"])
        (candidate,) = row["candidate_ids"]
        assert text_of(sources, candidate) == f" {', '.join(row['answers'])}"
        sentences = re.findall(r"The special code of the (\w+ \w+) is ([\w ]+)\.", text)
        assert len(sentences) == (1 if row["group"] == "single" else 2)
        asked = re.search(r"of the (\w+ \w+) that the text holds (?:is|are)$", text)[1]
        assert [code for name, code in sentences if name == asked] == row["answers"]
        for start, stop, answer in zip(
            row["evidence_starts"], row["evidence_stops"], row["answers"], strict=True
        ):
            evidence = text_of(sources, row["prompt_ids"][start:stop])
            assert evidence.strip() == f"The special code of the {asked} is {answer}."


def test_the_ids_are_those_of_the_whole_text(sources):
    for row in rows(Needle(depths=[0.5], samples=4), sources):
        whole = [*row["prompt_ids"], *row["candidate_ids"][0]]
        text = text_of(sources, whole)
        assert sources.tokenizer.prompt(text).input_ids.tolist() == list(map(int, whole))


def test_the_evidence_stands_where_the_depth_says(sources):
    for row in rows(Needle(depths=[0, 0.5, 1], samples=3), sources, length=400):
        (start,) = row["evidence_starts"]
        assert abs(start / len(row["prompt_ids"]) - row["depth"]) < 0.3


def test_the_same_codes_at_every_length_and_more_samples_leave_the_others(sources):
    few, more = (Needle(depths=[0.5], samples=samples) for samples in (2, 3))
    assert [row["answers"] for row in rows(few, sources, 320)] == [
        row["answers"] for row in rows(few, sources, 400)
    ]
    again = rows(more, sources)
    for row, other in zip(rows(few, sources), again, strict=False):
        assert row["sample_id"] == other["sample_id"]
        np.testing.assert_array_equal(row["prompt_ids"], other["prompt_ids"])
    assert rows(few, sources, seed=4)[0]["answers"] != again[0]["answers"]


def test_a_haystack_longer_than_a_work_is_of_several(sources):
    lengths = sum(len(sources.tokenizer.encode(work.text)[0]) for work in sources.documents)
    (row,) = rows(Needle(depths=[0.5], samples=1), sources, length=lengths - 100)
    assert len(row["prompt_ids"]) > lengths - 200
    with pytest.raises(ValueError, match=f"works have {lengths} tokens together, and .* are asked"):
        rows(Needle(depths=[0.5], samples=1), sources, length=2 * lengths)


def test_codes_that_leave_no_room_are_refused(sources):
    with pytest.raises(
        ValueError, match=r"100 tokens leave \d+ to the text around 4 codes; raise lengths, or"
    ):
        rows(Needle(variants=["multi_key"], depths=[0.5], samples=1), sources, length=100)


def test_a_chat_prompt_needs_a_template(sources):
    with pytest.raises(ValueError, match="has no chat template; set prompt: base, or take a model with one"):
        rows(Needle(depths=[0.5], samples=1, prompt="chat"), sources)


@pytest.mark.parametrize(
    ("answers", "text", "score"),
    [
        (["12345"], " 12345. The rest", 1),
        (["12345"], " 123456", 0),
        (["12345"], " 54321 12345", 0),
        (["12345"], "", 0),
        (["amber anvil"], " the amber anvil", 0),
        (["amber anvil"], " Amber anvil,", 1),
        (["12345", "67890"], " 67890 and 12345", 1),
        (["12345", "67890"], " 67890 and 1234", 0.5),
    ],
)
def test_scores(answers, text, score):
    sample = type("Sample", (), {"answers": answers})
    assert Needle().score(sample, [1.0], text) == score


def test_values_are_nll_and_score_of_each_sample():
    import pandas as pd

    rows = pd.DataFrame(
        {
            "sample_id": ["a", "b"],
            "group": ["single", "single"],
            "document_id": ["work", None],
            "length": [256, 512],
            "nll": [[6.0], [3.0]],
            "tokens": [[3], [6]],
            "control_nll": [None, None],
            "score": [1.0, 0.0],
        }
    )
    found = Needle().checked_values(rows, "table").reset_index()
    assert found.to_dict("records") == [
        {"measure": measure, "sample": name, "cluster": cluster, "group": "single", "length": length}
        | {"value": value, "weight": weight}
        for measure, name, cluster, length, value, weight in (
            ("nll", "a", "work", 256, 2.0, 3),
            ("nll", "b", "b", 512, 0.5, 6),
            ("score", "a", "work", 256, 1, 1),
            ("score", "b", "b", 512, 0, 1),
        )
    ]
