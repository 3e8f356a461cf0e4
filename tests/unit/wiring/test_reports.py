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
        for name in ("selections", "trainings", "evaluation-position_nll", "evaluation-coarse")
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
        *(path for _, path in settings["selections"].values()),
        *settings["trainings"].values(),
        *(item[key] for item in settings["evaluations"] for key in ("base", "trained")),
        *(path for paths in settings["comparisons"].values() for path in paths),
        *(item["folder"] for key in ("windowings", "stores") for item in settings[key].values()),
    ]
    assert len(paths) > 6
    assert all(path.startswith("prefix/results/") for path in paths)
    assert not any(path.startswith("prefix/") for path in reports.summary_inputs())


def test_the_selection_of_a_control_is_counted_and_compared_with_no_other():
    def change(settings):
        settings["runs"]["main"]["controls"] = ["random_windows"]
        settings["selections"]["packed"] = settings["selections"]["drawn"] | {"method": "gzip"}
        settings["report"]["compare_selections"] = ["drawn", "packed"]

    settings = wiring_of(change).reports.summary_settings()
    assert list(settings["selections"]) == ["half", "drawn"]
    assert sorted(settings["comparisons"]) == ["half, drawn", "half, packed"]


def test_each_training_is_compared_with_its_controls_once():
    def change(settings):
        settings["losses"]["longce"] = {"variant": "longce", "scorer": "tiny-32"}
        controls = ["plain", "shuffled", "random_windows"]
        settings["runs"]["main"] |= {"loss": ["dense", "longce"], "seeds": [0, 2], "controls": controls}

    wiring = wiring_of(change)
    (block,) = wiring.reports.comparison_settings()["evaluations"]
    models = {(model["run"], model["loss"]): model for model in block["models"]}
    random, plain = ["main~random_windows", "control~plain"], ["main", "control~plain"]
    assert {of: model["controls"] for of, model in models.items() if not model["is_control"]} == {
        ("main", loss): {"plain": plain, "shuffled": ["main", f"{loss}~shuffled"], "random_windows": random}
        for loss in ("dense", "longce")
    }
    assert {of for of, model in models.items() if model["is_control"]} == {
        ("main", "control~plain"),
        ("main", "dense~shuffled"),
        ("main", "longce~shuffled"),
        ("main~random_windows", "control~plain"),
    }
    assert models["main", "longce"]["tables"] == [
        f"results/evaluations/main/longce/seed{seed}/position_nll.parquet" for seed in (0, 2)
    ]
    assert {model["short_context"] for model in models.values()} == {32}
    read = {path for model in models.values() for path in model["tables"]} | {block["base"]}
    assert read == set(wiring.evaluations.all())
