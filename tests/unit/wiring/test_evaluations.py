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
