from longspan_workflow.settings.used import Used
from tiny_wiring import WILDCARDS, put, wildcards, wiring_of


def test_base_and_trained_models_are_evaluated_with_the_same_forward_pass():
    evaluations = wiring_of(put("runs/main/train/rope_theta", 3e6)).evaluations
    assert evaluations.model(wildcards(trained="base")) == "results/models/tiny/longspan.json"
    assert evaluations.model(WILDCARDS) == "results/runs/main/dense/seed0/model/longspan.json"
    base, trained = (evaluations.settings(wildcards(trained=name)) for name in ("base", "dense/seed0"))
    assert base == trained
    assert base["rope_theta"] == 3e6


def test_a_run_is_measured_by_the_evaluation_of_all_and_those_that_it_names():
    def change(settings):
        settings["evaluations"] = {
            "coarse": {"task": "position_nll", "position_bins": 2},
            "idle": {"task": "position_nll"},
        }
        settings["runs"]["second"] = settings["runs"]["main"] | {"evaluations": ["coarse"]}

    wiring = wiring_of(change)
    evaluations, runs = wiring.evaluations, wiring.settings.runs
    assert list(evaluations.of_run(runs["main"])) == ["position_nll"]
    assert list(evaluations.of_run(runs["second"])) == ["position_nll", "coarse"]
    assert evaluations.all() == [
        *(f"results/evaluations/main/{name}/position_nll.parquet" for name in ("base", "dense/seed0")),
        *(
            f"results/evaluations/second/{trained}/{name}.parquet"
            for name in ("position_nll", "coarse")
            for trained in ("base", "dense/seed0")
        ),
    ]
    coarse = wildcards(run="second", evaluation="coarse")
    assert evaluations.task(coarse) == "position_nll"
    assert evaluations.settings(coarse)["position_bins"] == 2
    assert "task" not in evaluations.settings(coarse)
    assert evaluations.settings(WILDCARDS)["position_bins"] == 8


def test_models_are_measured_on_the_held_out_windows():
    evaluations = wiring_of().evaluations
    assert evaluations.tokens(WILDCARDS) == "results/tokens/short/tiny/held_out.parquet"
    assert evaluations.windows(WILDCARDS) == "results/windows/short-128/held_out.parquet"


def test_an_evaluator_makes_its_table_once_a_windowing_and_every_model_is_measured_by_it():
    def change(settings):
        other = {"source": {"kind": "folder", "path": "elsewhere"}}
        settings["models"]["other"] = settings["models"]["tiny"] | other
        settings["evaluations"] = {"key": {"task": "longppl", "evaluator": "other", "short_context": 64}}
        settings["runs"]["main"] |= {"evaluations": ["key"], "train": {"max_steps": 1, "learning_rate": 1}}
        settings["runs"]["main"]["train"]["rope_theta"] = 3e6

    wiring = wiring_of(change)
    evaluations = wiring.evaluations
    key = wildcards(evaluation="key", trained="base")
    assert evaluations.prepared(key) == ["results/tasks/key/short-128.parquet"]
    assert evaluations.prepared(WILDCARDS) == []
    assert evaluations.evaluator(key) == "results/models/other/longspan.json"
    assert evaluations.preparation_tables(key) == {
        "tokens": "results/tokens/short/tiny/held_out.parquet",
        "windows": "results/windows/short-128/held_out.parquet",
        "documents": "results/corpora/short/documents/held_out.parquet",
    }
    made, measured = evaluations.preparation_settings(key), evaluations.settings(key)
    # The evaluator's forward pass is its own, and both choose the same windows.
    assert (made["rope_theta"], measured["rope_theta"]) == (None, 3e6)
    assert made["seed"] == measured["seed"]
    assert made["evaluator"] == measured["evaluator"] == "other"
    assert [model.key for model in Used(wiring.settings).models] == ["tiny", "other"]


def test_the_short_context_is_the_losss_or_the_selections_or_what_the_model_was_made_for():
    def context(change=lambda settings: None):
        wiring = wiring_of(change)
        run = wiring.settings.runs["main"]
        return wiring.evaluations.short_context(run, run.losses[0])

    def plain(settings):
        settings["losses"]["dense"] = {"variant": "plain"}

    def own(settings):
        scoring = {"base_length": 64, "base_stride": 32}
        settings["losses"]["dense"] = {"variant": "dense", "self_scoring": scoring}

    def by_gain(settings):
        plain(settings)
        gain = {"method": "nll_gain", "scorer": "tiny-32", "windowing": "short-128", "keep": {"ratio": 0.5}}
        settings["selections"]["half"] = gain

    def beyond(settings):
        plain(settings)
        settings["models"]["tiny"] |= {"max_position_embeddings": 100, "rope_theta": 1e6}

    assert context() == 32
    assert context(own) == 64
    assert context(by_gain) == 32
    assert context(plain) is None
    assert context(beyond) == 100
