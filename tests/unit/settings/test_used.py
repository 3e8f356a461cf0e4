"""What of the settings a run of all targets uses."""

from longspan_workflow.settings.loading import load_settings
from longspan_workflow.settings.used import Used
from tiny_settings import FUNNEL, GAIN, tiny


def used(**changes):
    return Used(load_settings(tiny(**changes)))


def keys(blocks):
    return [block.key for block in blocks]


def test_losses_share_a_store_that_is_scored_once():
    found = used(
        **{
            "losses/sparse": {"variant": "sparse", "sparsification": 0.5, "scorer": "tiny-32"},
            "losses/plain": {"variant": "plain"},
            "losses/own": {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}},
            "runs/main/loss": ["dense", "sparse", "plain", "own"],
            "runs/plain": tiny()["runs"]["main"] | {"loss": "plain"},
            "runs/second": tiny()["runs"]["main"],
        }
    )
    assert found.frozen_stores == {("short-128", "tiny-32"): [None]}


def test_what_runs_and_exports_need_of_a_store_is_known():
    def stores(**changes):
        return used(**changes).frozen_stores

    wide = {
        "windowings/wide": tiny()["windowings"]["short-128"],
        "exports/all": {"windowing": "wide", "loss": "dense"},
    }
    first, other = {"runs/main/select_first": True}, {"selections/other": tiny()["selections"]["half"]}
    kept = {"exports/kept/loss": "dense"}
    assert stores(**first) == {("short-128", "tiny-32"): ["half"]}
    assert stores(**first, **kept) == {("short-128", "tiny-32"): ["half"]}
    assert stores(**first, **other, **kept, **{"exports/kept/selection": "other"}) == {
        ("short-128", "tiny-32"): ["half", "other"]
    }
    assert stores(**kept) == {("short-128", "tiny-32"): [None, "half"]}
    assert stores(**first, **wide) == {("short-128", "tiny-32"): ["half"], ("wide", "tiny-32"): [None]}


def test_a_store_that_a_selection_chooses_by_may_be_one_that_another_run_trains_on():
    found = used(
        **{
            "selections/gain": GAIN,
            "runs/main/select_first": True,
            "runs/second": tiny()["runs"]["main"] | {"selection": "gain"},
        }
    )
    assert found.selecting_stores == {
        ("short-128", "tiny-layer0"): ["half"],
        ("short-128", "tiny-32"): ["gain"],
    }


def test_a_selection_that_nothing_uses_has_a_store_that_can_be_asked_for():
    found = used(**{"selections/gain": GAIN, "losses/dense": {"variant": "plain"}})
    assert found.selecting_stores["short-128", "tiny-32"] == ["gain"]
    assert found.stores == [("short-128", "tiny-layer0")]


def test_blocks_are_used_by_runs_exports_and_the_report_and_told_once():
    other = {"shards": 1, "sources": tiny()["corpora"]["short"]["sources"]}
    changes = {
        "corpora/other": other,
        "corpora/idle": other,
        "models/idle": tiny()["models"]["tiny"],
        "models/large": tiny()["models"]["tiny"],
        "scorers/tiny-layer0/model": "large",
        "windowings/wide": tiny()["windowings"]["short-128"] | {"corpus": "other"},
        "windowings/idle": tiny()["windowings"]["short-128"] | {"corpus": "idle"},
        "selections/idle": tiny()["selections"]["half"],
        "exports/all": {"windowing": "wide"},
        "runs/second": tiny()["runs"]["main"] | {"seeds": [3, 4]},
    }
    found = used(**changes)
    assert keys(found.windowings) == ["short-128", "wide"]
    assert keys(found.corpora) == ["short", "other"]
    assert keys(found.selections) == ["half"]
    assert keys(found.compared_selections) == ["half", "drawn"]
    assert keys(found.models) == ["tiny", "large"]
    assert [(run.key, loss.key, seed) for run, loss, seed in found.trainings] == [
        ("main", "dense", 0),
        ("second", "dense", 3),
        ("second", "dense", 4),
    ]
    assert [(corpus.key, model.key) for corpus, model in found.tokenized] == [
        ("short", "tiny"),
        ("other", "tiny"),
    ]


def test_short_documents_of_a_mixture_are_used_and_tokenized_as_the_windows_are():
    part = {"corpus": "other", "token_share": 0.25, "document_tokens": 64}
    found = used(
        **{
            "corpora/other": {"shards": 1, "sources": tiny()["corpora"]["short"]["sources"]},
            "mixtures/mixed": {"short": [part]},
            "runs/main/mixture": "mixed",
        }
    )
    assert keys(found.corpora) == ["short", "other"]
    assert [corpus.key for corpus, _ in found.tokenized] == ["short", "other"]
    assert keys(found.windowings) == ["short-128"]


NLL, LAYER = ("short-128", "tiny-32"), ("short-128", "tiny-layer0")


def cascading(**changes):
    """A cascade alone, for the run, which scores the NLL of what it keeps."""
    alone = {"selections": {"funnel": FUNNEL}, "runs/main/selection": "funnel", "report": {}}
    return used(**alone | {"exports/kept/selection": "funnel", "runs/main/select_first": True} | changes)


def test_a_later_stage_needs_scores_of_what_the_one_before_keeps():
    found = cascading()
    assert found.selecting_stores == {LAYER: ["funnel.stage2"], NLL: ["funnel"]}
    assert found.stores == [LAYER, NLL]
    assert found.kept_enough(LAYER) == ["funnel.stage1"]
    # What the loss needs, the last stage's choice, is among them.
    assert found.frozen_stores == {NLL: ["funnel"]}
    assert found.kept_enough(NLL) == ["funnel.stage2"]
    assert found.waits_for("funnel") == {"funnel.stage1", "funnel.stage2"}
    assert found.waits_for("funnel.stage1") == set()


def test_a_store_that_something_needs_whole_is_scored_whole():
    half = {"selections/half": tiny()["selections"]["half"]}
    assert cascading(**half).kept_enough(LAYER) == []
    assert cascading(**half).kept_enough(NLL) == ["funnel.stage2"]
    assert cascading(**{"runs/main/select_first": False}).kept_enough(NLL) == []
    assert cascading(**{"selections/gain": GAIN}).kept_enough(NLL) == []
    assert cascading().kept_enough(("short-128", "idle")) == []


def test_what_several_need_of_a_store_is_scored_once():
    other = {"windowing": "short-128", "stages": [FUNNEL["stages"][0], FUNNEL["stages"][2]]}
    found = cascading(**{"selections/other": other, "exports/kept": {"selection": "other", "loss": "dense"}})
    assert found.frozen_stores == {NLL: ["funnel", "other"]}
    assert found.kept_enough(NLL) == ["funnel.stage2", "other.stage1"]
