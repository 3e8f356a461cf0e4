import dataclasses
import re

import numpy as np
import pytest

from longspan.evaluation.generated import input_rows
from longspan.evaluation.tasks.evidence import Evidence

NAMES = {
    "work 0": ("Marianne", "Godfrey", "Lavinia", "Tobias"),
    "work 1": ("Rosalind", "Ferdinand", "Beatrice", "Leopold"),
    "work 2": ("Winifred", "Ambrose", "Cordelia", "Horace"),
}


@pytest.fixture(scope="module")
def named(sources):
    """The works, each with names of its own."""

    def renamed(work):
        text = work.text
        for old, new in zip(NAMES["work 0"], NAMES[work.document_id], strict=True):
            text = text.replace(old, new)
        return dataclasses.replace(work, text=text)

    return dataclasses.replace(sources, documents=[renamed(work) for work in sources.documents])


def rows(task, sources, length=1024, seed=3):
    return list(input_rows(task, sources, length=length, seed=seed))


TASK = Evidence(distances=[128, 400], samples=6, passage_tokens=40, evidence_tokens=60)


def test_the_name_stands_in_the_evidence_and_nowhere_else(named):
    made = rows(TASK, named)
    assert len(made) == TASK.cost(1024).samples == 12
    for row in made:
        (name,) = row["answers"]
        assert name in NAMES[row["document_id"]]
        right, foil = (named.tokenizer.decode(ids) for ids in row["candidate_ids"])
        assert right == f" {name}"
        assert foil.strip() in NAMES[row["document_id"]]
        assert foil != right
        (start,), (stop,) = row["evidence_starts"], row["evidence_stops"]
        evidence = named.tokenizer.decode(row["prompt_ids"][start:stop])
        assert re.search(rf"\b{name}\b", evidence)
        behind = named.tokenizer.decode(row["prompt_ids"][stop:])
        control = named.tokenizer.decode(row["control_ids"])
        for text in (behind, control):
            assert name not in text
        assert foil.strip() not in evidence + behind + control
        assert control.endswith(behind)
        assert abs(len(row["control_ids"]) - len(row["prompt_ids"])) < 40


def test_what_follows_the_passage_in_the_work_is_the_name(named):
    texts = {work.document_id: work.text for work in named.documents}
    for row in rows(TASK, named):
        passage = named.tokenizer.decode(row["prompt_ids"]).split("\n\n")[-1]
        assert f"{passage} {row['answers'][0]}" in texts[row["document_id"]]


def test_evidence_is_at_its_distance_and_names_are_the_same_at_each(named):
    made = rows(TASK, named)
    near, far = made[:6], made[6:]
    assert [row["answers"] for row in near] == [row["answers"] for row in far]
    for row in made:
        distance = len(row["prompt_ids"]) - row["evidence_stops"][0]
        assert row["distance"] * 0.7 < distance <= row["distance"]
    assert len({tuple(row["answers"]) for row in near}) > 2
    assert len({row["document_id"] for row in near}) > 1


def test_ids_are_those_of_the_whole_text(named):
    for row in rows(TASK, named):
        for candidate in row["candidate_ids"]:
            whole = [*row["prompt_ids"], *candidate]
            text = named.tokenizer.decode(whole)
            np.testing.assert_array_equal(named.tokenizer.prompt(text).input_ids, whole)


def test_more_samples_leave_the_others(named):
    few = rows(TASK.model_copy(update={"samples": 3}), named)
    more = {row["sample_id"]: row for row in rows(TASK, named)}
    for row in few:
        np.testing.assert_array_equal(row["prompt_ids"], more[row["sample_id"]]["prompt_ids"])


def test_each_distance_goes_with_the_shortest_length_that_it_fits_into(named):
    task = Evidence(lengths=[400, 1024], samples=2, passage_tokens=40, evidence_tokens=60)
    assert task.input_lengths(99) == [400, 1024]
    distances = [{row["distance"] for row in rows(task, named, length)} for length in (400, 1024)]
    assert distances == [{128, 256}, {512}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distances": [128, 2000]}, r"evidence of 96 tokens at a distance of 2000 does not fit into 1024 "),
        ({"lengths": [256]}, r"at a distance of 128 does not fit into 256 tokens; .* raise lengths to 336"),
        ({"passage_tokens": 128}, r"passage_tokens 128 leaves nothing between the evidence and the passage"),
    ],
)
def test_evidence_that_does_not_fit_is_refused_before_any_job(options, message):
    with pytest.raises(ValueError, match=message):
        Evidence(**options).check_window(1024)


def test_works_without_names_of_their_own_are_refused(named):
    works = [*named.documents, dataclasses.replace(named.documents[0], document_id="copy")]
    with pytest.raises(
        ValueError, match=r"the held-out works give \d+ of 300 samples: names that come again"
    ):
        rows(TASK.model_copy(update={"samples": 300}), dataclasses.replace(named, documents=works))


def test_a_single_work_has_nothing_to_fill_with(named):
    with pytest.raises(ValueError, match="the held-out works beside work 0 have 0 tokens together"):
        rows(
            TASK.model_copy(update={"samples": 2}),
            dataclasses.replace(named, documents=named.documents[:1]),
        )


def test_values_are_by_distance():
    import pandas as pd

    found = pd.DataFrame(
        {
            "sample_id": ["a"],
            "group": ["names"],
            "document_id": ["work"],
            "length": [1024],
            "distance": [256],
            "nll": [[2.0, 5.0]],
            "tokens": [[2, 3]],
            "control_nll": [[6.0, 4.0]],
            "score": [1.0],
        }
    )
    values = TASK.checked_values(found, "table").reset_index()
    assert values[["measure", "length", "value", "weight"]].to_numpy().tolist() == [
        ["gain", 256.0, 2.0, 2.0],
        ["margin", 256.0, 3.0, 1.0],
        ["score", 256.0, 1.0, 1.0],
    ]
