import math
from dataclasses import replace

import pytest

from evaluation_rows import Guard, row
from longspan.reporting.evaluation_table import AREA
from longspan.reporting.verdict import HELPED, HURT, NOT_SHOWN, outcome, verdict_of, verdicts

NONE = math.nan


def verdict(*rows):
    (found,) = verdicts(rows)
    return found


@pytest.mark.parametrize(
    ("value", "p", "measure", "expected"),
    [
        (0.1, 0.04, 0, HELPED),
        (-0.1, 0.04, 0, HURT),
        (0.1, 0.05, 0, NOT_SHOWN),
        (-0.1, 0.5, 0, NOT_SHOWN),
        (0.0, 1.0, 0, NOT_SHOWN),
        (0.1, NONE, 0, NOT_SHOWN),
        # Of an NLL less is better.
        (-0.1, 0.04, 1, HELPED),
        (0.1, 0.04, 1, HURT),
    ],
)
def test_one_comparison(value, p, measure, expected):
    found = row({"base": (value, p)}, measure=measure)
    assert outcome(found, found.differences["base"]) == expected


@pytest.mark.parametrize(
    ("base", "plain", "expected"),
    [
        ((0.1, 0.01), (0.1, 0.01), HELPED),
        ((0.1, 0.01), (0.1, 0.3), NOT_SHOWN),
        ((0.1, 0.3), (0.1, 0.01), NOT_SHOWN),
        ((0.1, 0.3), (0.1, 0.3), NOT_SHOWN),
        ((0.1, 0.01), (-0.1, 0.01), HURT),
        ((-0.1, 0.01), (0.1, 0.01), HURT),
        ((-0.1, 0.01), (0.1, 0.3), HURT),
    ],
)
def test_it_helped_only_against_all_and_hurt_against_one(base, plain, expected):
    assert verdict_of(row({"base": base, "plain": plain})) == expected


def test_a_gain_over_all_is_told_with_its_intervals():
    found = verdict(row({"base": (0.1, 0.0003), "plain": (0.05, 0.012)}))
    assert found == (
        "main/dense by retrieval: helped. Share of right answers, all: better than "
        "the base model (+0.100 [+0.090, +0.110], p < 0.001) and "
        "plain loss on the same windows (+0.050 [+0.040, +0.060], p 0.012)."
    )


def test_what_was_not_shown_is_named():
    found = verdict(row({"base": (0.1, 0.01), "plain": (0.001, 0.8), "random_windows": (0.002, 0.5)}))
    assert found.startswith("main/dense by retrieval: no gain is shown. ")
    assert (
        "all: better than the base model (+0.100 [+0.090, +0.110], p 0.010); no difference shown to" in found
    )
    assert (
        "plain loss on the same windows (+0.001 [−0.009, +0.011], p 0.80) and plain loss on random" in found
    )


def test_a_loss_is_named():
    found = verdict(row({"base": (0.1, 0.01), "shuffled": (-0.05, 0.01)}))
    assert found.startswith("main/dense by retrieval: hurt. ")
    assert "better than the base model (" in found
    assert "; worse than the same loss with shuffled weights (−0.050 [" in found


def test_a_missing_control_is_admitted():
    admitted = "has no control that this loss can be held against"
    assert admitted in verdict(row({"base": (0.1, 0.01)}))
    assert "helped against the base model alone." in verdict(row({"base": (0.1, 0.01)}))
    assert admitted not in verdict(row({"base": (0.1, 0.01), "plain": (0.1, 0.01)}))


@pytest.mark.parametrize(
    ("made_of", "sentence"),
    [
        ({"clusters": 3}, "3 documents are few"),
        ({"clusters": 3, "samples": 3}, "3 samples are few"),
        ({"clusters": 1}, "There is one of the documents only, so there is no interval"),
        ({"seeds": 1}, "With one seed, the noise of training is not in the intervals."),
        ({"clusters": 40, "seeds": 2}, None),
    ],
)
def test_small_numbers_are_admitted(made_of, sentence):
    found = verdict(row({"base": (0.1, 0.01), "plain": (0.1, 0.01)}, **made_of))
    whole = verdict(row({"base": (0.1, 0.01), "plain": (0.1, 0.01)}))
    assert (sentence in found) if sentence else (found == whole)
    assert "few" not in whole


def test_it_says_where():
    base = {"base": (0.1, 0.01), "plain": (0.1, 0.01)}
    found = verdict(
        row(base),
        row({"base": (-0.05, 0.01), "plain": (0.0, 0.9)}, group="within 512 tokens"),
        row({"base": (0.2, 0.001), "plain": (0.1, 0.01)}, group="beyond 512 tokens"),
        row(base, group="poetry"),
    )
    assert (
        "Within 512 tokens: worse than the base model (−0.050 [−0.060, −0.040], p 0.010); no difference "
        "shown to plain loss on the same windows. Beyond 512 tokens: better than the base model (+0.200 ["
    ) in found
    assert "oetry" not in found


def test_over_a_grid_of_lengths_the_area_is_judged():
    found = verdict(row({"base": (0.1, 0.3)}), row({"base": (0.2, 0.01)}, group=AREA))
    assert "helped" in found
    assert "Share of right answers, area over lengths: better than the base model (+0.200" in found


def test_of_a_guard_only_a_loss_is_told_and_it_comes_last():
    kept = row({"base": (0.3, 0.001), "plain": (0.0, 0.9)}, task=Guard())
    lost = row({"base": (-0.3, 0.001), "plain": (0.0, 0.9)}, task=Guard())
    assert "no loss is shown of this guard" in verdict(kept)
    assert "this guard was lost" in verdict(lost)
    first, second = verdicts([replace(lost, evaluation="a guard"), row({"base": (0.1, 0.01)})])
    assert first.startswith("main/dense by retrieval: ")
    assert second.startswith("main/dense by a guard: ")


def test_only_first_measures_of_trainings_that_are_no_control_are_judged():
    arm = row({"base": (0.1, 0.01), "plain": (0.1, 0.01)})
    others = [
        row({}, loss="base"),
        replace(row({"base": (0.1, 0.01)}, loss="control~plain"), is_control=True),
        row({"base": (-0.1, 0.01)}, measure=1),
    ]
    assert verdicts([*others, arm]) == verdicts([arm])
    assert len(verdicts([arm, row({"base": (0.1, 0.01)}, loss="longce")])) == 2
