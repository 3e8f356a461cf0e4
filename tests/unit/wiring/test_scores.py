from tiny_settings import FUNNEL, GAIN, TINY
from tiny_wiring import WILDCARDS, put, wildcards, wiring_of


def test_only_kept_windows_are_scored_if_every_run_selects_first():
    def select_first(settings):
        settings["runs"]["main"]["select_first"] = True

    def and_another_that_does_not(settings):
        select_first(settings)
        settings["runs"]["second"] = {**TINY["runs"]["main"], "selection": None}

    assert wiring_of().scores.kept(WILDCARDS) == []
    assert wiring_of(select_first).scores.kept(WILDCARDS) == ["results/selections/half.kept.parquet"]
    wiring = wiring_of(and_another_that_does_not)
    assert wiring.scores.kept(WILDCARDS) == []
    assert wiring.runs.kept(wildcards(run="second")) == []


def test_a_store_that_a_selection_chooses_by_is_scored_whole():
    """Whichever runs select first: their selections could wait for each other's scores otherwise."""

    def change(settings):
        settings["runs"]["main"]["select_first"] = True
        settings["selections"]["gain"] = GAIN

    assert wiring_of(change).scores.kept(WILDCARDS) == []


def test_a_scorer_that_no_run_uses_scores_every_window():
    scores = wiring_of(put("scorers/idle", dict(TINY["scorers"]["tiny-32"]))).scores
    assert scores.kept(wildcards(scorer="idle")) == []


def test_a_scorer_of_another_model_is_compared_with_the_tokenizer_on_the_shards_documents():
    def change(settings):
        settings["models"]["large"] = settings["models"]["tiny"]
        settings["scorers"]["tiny-layer0"]["model"] = "large"

    scores = wiring_of(change).scores
    documents = ["results/corpora/short/documents/00001.parquet"]
    other = scores.inputs(wildcards(scorer="tiny-layer0"))
    assert (other["model"], other["documents"]) == ("results/models/large/longspan.json", documents)
    own = scores.inputs(WILDCARDS)
    assert (own["model"], own["documents"]) == ("results/models/tiny/longspan.json", [])


def test_a_scorers_settings_are_its_kinds_and_the_forward_pass_that_its_numbers_depend_on():
    scores = wiring_of().scores
    assert scores.scorer_settings(WILDCARDS) == {
        "base_length": 32,
        "base_stride": 24,
        "store_long": True,
        "windows_per_batch": 1,
        "dtype": "float32",
        "attention": "sdpa",
        "compile_layers": False,
        "rope_theta": None,
    }
    assert scores.scorer_settings(wildcards(scorer="tiny-layer0")) == {
        "dtype": "float32",
        "compile_layers": False,
        "rope_theta": None,
    }


def test_a_scorers_own_rope_theta_stands_before_the_models():
    def change(settings):
        settings["models"]["tiny"]["rope_theta"] = 1e5
        settings["scorers"]["tiny-layer0"]["rope_theta"] = 2e5

    scores = wiring_of(change).scores
    assert scores.scorer_settings(WILDCARDS)["rope_theta"] == 1e5
    assert scores.scorer_settings(wildcards(scorer="tiny-layer0"))["rope_theta"] == 2e5


def test_a_cascades_later_scorers_wait_for_the_stage_before():
    def change(settings):
        settings["selections"] = {"funnel": FUNNEL}
        settings["runs"]["main"] |= {"selection": "funnel", "select_first": True}
        settings["exports"]["kept"]["selection"] = "funnel"
        settings["report"] = {}

    scores = wiring_of(change).scores
    folder = "results/selections"
    assert scores.kept(wildcards(scorer="tiny-layer0")) == [f"{folder}/funnel.stage1.kept.parquet"]
    assert scores.kept(WILDCARDS) == [f"{folder}/funnel.stage2.kept.parquet"]
