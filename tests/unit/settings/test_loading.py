"""All faults of a file are told at once."""

import copy

import pytest

from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from tiny_settings import tiny


def faults(**changes):
    with pytest.raises(SettingsError) as caught:
        load_settings(tiny(**changes))
    assert str(caught.value) == "\n".join(caught.value.faults)
    return list(caught.value.faults)


MISSPELT = "runs.main.model: there is no 'tine' under models; did you mean 'tiny'?"
NEGATIVE = (
    "seed: -1 is less than the minimum of 0 (Root seed; every stage derives its own from it, the stage and a "
    "name.)"
)


def test_a_fault_of_form_hides_no_unknown_name():
    assert faults(**{"seed": -1, "runs/main/model": "tine"}) == [NEGATIVE, MISSPELT]


def test_faults_of_form_are_told_together():
    assert faults(
        **{"seed": -1, "windowings/short-128/window_token": 3, "scorers/tiny-32/kind": "shrt_nll"}
    ) == [
        NEGATIVE,
        "windowings.short-128.window_token: unknown key; did you mean 'window_tokens'?",
        "scorers.tiny-32.kind: 'shrt_nll' is unknown; did you mean 'short_nll'?",
    ]


def test_unknown_names_and_faults_between_blocks_are_told_together():
    found = faults(
        **{
            "runs/main/model": "tine",
            "runs/main/train/cpu_offload": True,
            "report/compare_selections": ["drown"],
        }
    )
    assert found == [
        MISSPELT,
        "report.compare_selections: there is no 'drown' under selections; did you mean 'drawn'?",
        "runs.main.train.cpu_offload: needs sharding: full",
    ]


def test_a_name_of_a_block_with_a_fault_of_its_own_is_known():
    """Who names it is not told that it is missing."""
    assert faults(**{"selections/half/alpha": -1, "exports/kept/selection": "hal"}) == [
        "selections.half.alpha: -1 is less than the minimum of 0 "
        "(Weight of uniformity against strength (α).)",
        "exports.kept.selection: there is no 'hal' under selections; did you mean 'half'?",
    ]


def test_a_section_with_a_fault_of_its_own_hides_no_other_fault():
    found = faults(**{"selections": "word", "seed": -1, "scorers/tiny-32/model": "tine"})
    assert found[0] == NEGATIVE
    assert any(fault.startswith("selections: 'word' is not of type 'object'") for fault in found)
    assert "scorers.tiny-32.model: there is no 'tine' under models; did you mean 'tiny'?" in found
    assert not any("there is no 'half'" in fault for fault in found)


def test_a_fault_is_told_once():
    """Though two runs name the loss that it is in."""
    second = tiny()["runs"]["main"]
    scoring = {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 40}}
    found = faults(**{"losses/dense": scoring, "runs/second": second})
    assert len(found) == 1


@pytest.mark.parametrize("given", [{}, {"models": None}, {"runs": []}, {"corpora": {"a": None}}])
def test_settings_of_any_form_are_refused_in_words(given):
    with pytest.raises(SettingsError) as caught:
        load_settings(given)
    assert all(fault.partition(": ")[0] for fault in caught.value.faults)


def test_what_is_given_stays_as_it_is():
    given = tiny()
    before = copy.deepcopy(given)
    load_settings(given).runs["main"].seeds.append(5)
    assert given == before
