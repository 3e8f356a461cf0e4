"""Controls of runs, as trainings of their own."""

import pytest

from longspan_workflow.settings.controls import arms
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.settings.used import Used
from tiny_settings import tiny

PLAIN = {"losses/plain": {"variant": "plain"}}


def loaded(*controls, **changes):
    return load_settings(tiny(**{"runs/main/controls": list(controls)} | changes))


def trainings(settings):
    return [(run.key, loss.key, seed) for run, loss, seed in Used(settings).trainings]


def controls_of(settings):
    return {
        (arm.run.key, arm.loss.key): {name: (run.key, loss.key) for name, (run, loss) in arm.controls.items()}
        for arm in arms(settings)
    }


def test_each_control_is_a_training_with_the_runs_seeds():
    settings = loaded("plain", "shuffled", "random_windows", **{"runs/main/seeds": [0, 3]})
    kinds = [
        ("main", "dense"),
        ("main", "control~plain"),
        ("main", "dense~shuffled"),
        ("main~random_windows", "control~plain"),
    ]
    assert trainings(settings) == [(*kind, seed) for kind in kinds for seed in (0, 3)]
    assert controls_of(settings) == {
        ("main", "dense"): {
            "plain": ("main", "control~plain"),
            "shuffled": ("main", "dense~shuffled"),
            "random_windows": ("main~random_windows", "control~plain"),
        }
    }


def test_a_control_differs_from_its_run_in_one_thing():
    settings = loaded("plain", "shuffled", "random_windows")
    dense = settings.losses["dense"].as_settings()
    assert settings.losses["dense~shuffled"].as_settings() == dense | {"shuffle_weights": True}
    assert settings.losses["control~plain"].as_settings() == {"variant": "plain"}
    run, control = settings.runs["main"], settings.runs["main~random_windows"]
    assert control.control_of is run
    assert (control.model, control.windowing, control.seeds) == (run.model, run.windowing, run.seeds)
    assert control.train == run.train
    assert control.order_key == run.order_key == run.key == "main"
    assert run.own_loss_names == ["dense"]


def test_a_random_selection_like_the_runs_own_is_used_again():
    # configs/tiny.yaml has `drawn`, which keeps the same share of the same windows.
    assert loaded("random_windows").runs["main~random_windows"].selection.key == "drawn"
    other = loaded("random_windows", **{"selections/drawn/keep": {"ratio": 0.25}})
    made = other.runs["main~random_windows"].selection
    assert made.key == "half~random"
    assert made.as_settings() == {"windowing": "short-128", "method": "random", "keep": {"ratio": 0.5}}
    assert made.windowing.key == "short-128"


def test_a_plain_loss_of_the_run_is_its_plain_control():
    settings = loaded("plain", "random_windows", **PLAIN, **{"runs/main/loss": ["dense", "plain"]})
    assert trainings(settings) == [
        ("main", "dense", 0),
        ("main", "plain", 0),
        ("main~random_windows", "plain", 0),
    ]
    random = {"random_windows": ("main~random_windows", "plain")}
    assert controls_of(settings) == {
        ("main", "dense"): {"plain": ("main", "plain")} | random,
        # Plain cross-entropy has no weights to take away: windows are all that it can gain by.
        ("main", "plain"): random,
    }


def test_each_loss_that_weighs_tokens_is_shuffled():
    more = {"losses/longce": {"variant": "longce", "scorer": "tiny-32"}}
    settings = loaded("shuffled", **more, **PLAIN, **{"runs/main/loss": ["dense", "plain", "longce"]})
    assert [loss for _, loss, _ in trainings(settings)] == [
        "dense",
        "plain",
        "longce",
        "dense~shuffled",
        "longce~shuffled",
    ]


def test_controls_are_written_as_they_were_given():
    settings = loaded("plain", "shuffled", "random_windows", **{"selections/drawn/keep": {"ratio": 0.25}})
    written = settings.as_settings()
    assert "~" not in str(written)
    again = load_settings(written)
    assert trainings(again) == trainings(settings)
    assert again.as_settings() == written
    assert "controls" not in load_settings(tiny()).as_settings()["runs"]["main"]


def test_a_run_without_controls_has_none():
    settings = load_settings(tiny())
    assert trainings(settings) == [("main", "dense", 0)]
    assert controls_of(settings) == {("main", "dense"): {}}


def test_controls_need_no_scores_of_other_windows():
    for first in (False, True):
        alone = load_settings(tiny(**{"runs/main/select_first": first}))
        all_three = loaded("plain", "shuffled", "random_windows", **{"runs/main/select_first": first})
        assert Used(all_three).frozen_stores == Used(alone).frozen_stores


@pytest.mark.parametrize(
    ("controls", "changes", "fault"),
    [
        (
            ["random_windows"],
            {"runs/main/selection": ...},
            "random_windows needs a selection to be compared with; the run takes all windows",
        ),
        (
            ["random_windows"],
            PLAIN | {"runs/main/loss": "plain", "runs/main/selection": "drawn"},
            "random_windows is what the run is already; remove it",
        ),
        (
            ["shuffled"],
            PLAIN | {"runs/main/loss": "plain"},
            "shuffled needs a loss that weighs tokens; all of the run's are plain cross-entropy",
        ),
        (["plain"], PLAIN | {"runs/main/loss": "plain"}, "plain needs a loss that weighs tokens"),
        (["random"], {}, "'random' is unknown; did you mean 'random_windows'?"),
        ([], {}, "should be non-empty"),
        (["plain", "plain"], {}, "non-unique"),
    ],
)
def test_a_control_that_controls_nothing_is_refused(controls, changes, fault):
    with pytest.raises(SettingsError) as error:
        loaded(*controls, **changes)
    (found,) = error.value.faults
    assert found.startswith("runs.main.controls")
    assert fault in found


def test_nobody_can_give_the_name_of_a_control():
    with pytest.raises(SettingsError, match=r"dense~shuffled"):
        load_settings(tiny(**{"losses/dense~shuffled": {"variant": "plain"}}))
