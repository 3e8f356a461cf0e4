from tiny_wiring import wiring_of


def test_selections_of_runs_are_compared_with_each_other_and_with_those_of_the_report():
    def change(settings):
        block = settings["selections"]["half"]
        settings["selections"] |= {"few": block, "best": block, "idle": block}
        settings["runs"]["second"] = settings["runs"]["main"] | {"selection": "few"}
        settings["report"] = {"compare_selections": ["best"]}

    reports = wiring_of(change).reports
    pairs = reports.summary_settings()["comparisons"]
    assert list(pairs) == ["half, few", "half, best", "few, best"]
    assert pairs["half, best"] == ["results/selections/half.parquet", "results/selections/best.parquet"]
    assert set(reports.summary_inputs()) >= {path for paths in pairs.values() for path in paths}
    assert not any("idle" in path for path in reports.summary_inputs())


def test_a_figure_is_drawn_of_each_evaluation():
    def change(settings):
        settings["evaluations"] = {"coarse": {"task": "position_nll", "position_bins": 2}}
        settings["runs"]["main"]["evaluations"] = ["coarse"]

    reports = wiring_of(change).reports
    assert reports.figure_paths() == {
        name: f"results/figures/{name}.svg"
        for name in ("selections", "trainings", "exposure", "evaluation-position_nll", "evaluation-coarse")
    }
    coarse = reports.figure_settings()["evaluations"]["coarse"]
    assert coarse["task"] == "position_nll"
    assert coarse["tables"] == {
        f"main/{trained}": f"results/evaluations/main/{trained}/coarse.parquet"
        for trained in ("base", "dense/seed0")
    }
    assert set(coarse["tables"].values()) <= set(reports.figure_inputs())
    assert set(coarse["tables"].values()) <= set(reports.summary_inputs())


def test_what_is_read_through_a_parameter_lies_where_a_modules_prefix_puts_it():
    reports = wiring_of(here=lambda path: f"prefix/{path}").reports
    settings = reports.summary_settings()
    paths = [
        *(path for *_, path in settings["selections"]),
        *settings["trainings"].values(),
        *settings["exposures"].values(),
        *(item[key] for item in settings["evaluations"] for key in ("base", "trained")),
        *(path for paths in settings["comparisons"].values() for path in paths),
        *(item["folder"] for key in ("windowings", "stores") for item in settings[key].values()),
    ]
    assert len(paths) > 6
    assert all(path.startswith("prefix/results/") for path in paths)
    assert not any(path.startswith("prefix/") for path in reports.summary_inputs())
