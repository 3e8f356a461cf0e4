import json
from types import SimpleNamespace

from longspan.plugins.citations import LONGATTN, TOKEN_WEIGHTING
from longspan_workflow.running.launchers import training_launcher
from tiny_settings import TINY
from tiny_wiring import WILDCARDS, put, wildcards, wiring_of


def test_every_loss_and_seed_is_a_training():
    def change(settings):
        settings["losses"]["plain"] = {"variant": "plain"}
        settings["runs"]["main"] |= {"loss": ["dense", "plain"], "seeds": [3, 5]}
        settings["runs"]["second"] = TINY["runs"]["main"]

    wiring = wiring_of(change)
    runs, reports = wiring.runs, wiring.reports
    trainings = [(item["run"], item["loss"], item["seed"]) for item in runs.trainings()]
    assert trainings == [
        ("main", "dense", "3"),
        ("main", "dense", "5"),
        ("main", "plain", "3"),
        ("main", "plain", "5"),
        ("second", "dense", "0"),
    ]
    assert wiring.evaluations.all() == [
        f"results/evaluations/{run}/{trained}/position_nll.parquet"
        for run in ("main", "second")
        for trained in ("base", *(f"{loss}/seed{seed}" for name, loss, seed in trainings if name == run))
    ]
    # Two seeds of one run see their data in other orders, two losses of one seed in the same.
    seeds = {
        item: runs.settings(wildcards(run=item[0], loss=item[1], seed=item[2]))["seed"] for item in trainings
    }
    assert seeds["main", "dense", "3"] == seeds["main", "plain", "3"] != seeds["main", "dense", "5"]
    # One store for all of them, and none for the plain loss.
    assert wiring.scores.indexes() == ["results/scores/short-128/tiny-32/index.parquet"]
    assert runs.scores(wildcards(loss="plain")) == {"index": [], "scores": []}
    assert runs.scores(WILDCARDS) == {
        "index": ["results/scores/short-128/tiny-32/index.parquet"],
        "scores": [f"results/scores/short-128/tiny-32/{shard}.parquet" for shard in ("00000", "00001")],
    }
    summary = reports.summary_settings()
    assert list(summary["stores"]) == ["short-128/tiny-32"]
    assert len(summary["trainings"]) == len(summary["evaluations"]) == 5
    assert set(reports.summary_inputs()) >= {
        *summary["trainings"].values(),
        *(path for _, path in summary["selections"].values()),
    }


def test_a_runs_own_rope_theta_stands_before_the_models():
    def change(settings):
        settings["models"]["tiny"]["rope_theta"] = 1e5

    runs = wiring_of(change).runs
    assert runs.settings(WILDCARDS)["rope_theta"] == 1e5
    assert "rope_theta" not in runs.settings(WILDCARDS)["train"]


def test_the_scorer_is_no_setting_of_a_training():
    """Which store a loss uses is an input; the same scores under another name train the same model."""
    assert wiring_of().runs.settings(WILDCARDS)["loss"] == {"variant": "dense"}


def test_how_a_training_runs_is_apart_from_what_it_learns():
    def blocks(**train):
        runs = wiring_of(lambda settings: settings["runs"]["main"]["train"].update(train)).runs
        return runs.settings(WILDCARDS), runs.execution(WILDCARDS)

    one, alone = blocks(gradient_accumulation_steps=4)
    assert one["train"]["windows_per_update"] == 4
    assert alone["processes"] == 1
    many, shared = blocks(
        gradient_accumulation_steps=1, devices=2, nodes=2, sharding="full", gradient_checkpointing=True
    )
    assert many == one
    assert (shared["processes"], shared["sharding"], shared["gradient_checkpointing"]) == (4, "full", True)


def test_several_devices_are_started_by_torchrun():
    assert training_launcher(1, 1) == "python"
    assert training_launcher(2, 1) == "python -m torch.distributed.run --nproc-per-node 2 --standalone"
    assert training_launcher(4, 2).startswith(
        "srun --nodes 2 --ntasks 2 --ntasks-per-node 1 python -m torch."
    )


def test_a_training_depends_on_the_tokens_of_its_mixture():
    block = {"corpus": "short", "token_share": 0.25, "document_tokens": 64}

    def change(settings):
        settings["mixtures"] = {"m": {"short": [block]}}
        settings["runs"]["main"]["mixture"] = "m"

    mixed, plain = wiring_of(change).runs, wiring_of().runs
    folder = "results/tokens/short/tiny"
    assert mixed.short_tokens(WILDCARDS) == [f"{folder}/00000.parquet", f"{folder}/00001.parquet"]
    assert mixed.short_arguments(WILDCARDS) == ["--short", "short", folder, "2"]
    assert mixed.settings(WILDCARDS)["mixture"] == [block]
    assert plain.short_tokens(WILDCARDS) == []
    assert plain.short_arguments(WILDCARDS) == []
    assert "mixture" not in plain.settings(WILDCARDS)


def test_held_out_windows_are_scored_in_the_course_of_a_training_that_asks_for_it():
    runs = wiring_of(put("runs/main/train/eval_steps", 2)).runs
    tables = runs.held_out(WILDCARDS)
    assert tables == {
        "held_out_tokens": ["results/tokens/short/tiny/held_out.parquet"],
        "held_out_windows": ["results/windows/short-128/held_out.parquet"],
    }
    arguments = runs.guard_arguments(WILDCARDS, SimpleNamespace(**tables))
    guard = json.loads(arguments[1])
    assert guard["eval_steps"] == 2
    # The same windows as the evaluation's.
    evaluated = wiring_of().evaluations.settings(WILDCARDS)
    assert {key: guard[key] for key in ("windows_per_document", "seed")} == {
        key: evaluated[key] for key in ("windows_per_document", "seed")
    }
    assert arguments[2:] == [
        *("--held-out-tokens", *tables["held_out_tokens"]),
        *("--held-out-windows", *tables["held_out_windows"]),
    ]
    plain = wiring_of().runs
    assert plain.held_out(WILDCARDS) == {"held_out_tokens": [], "held_out_windows": []}
    assert plain.guard_arguments(WILDCARDS, SimpleNamespace(**tables)) == []


def test_a_models_card_cites_what_it_was_made_by():
    card = wiring_of().runs.card(WILDCARDS)
    assert card["citations"] == [TOKEN_WEIGHTING, LONGATTN]
    assert card["base"] == {
        "name": "tiny",
        "source": "inputs/model",
        "license": TINY["models"]["tiny"]["license"],
    }
    plain = wiring_of(lambda settings: settings.update(losses={"dense": {"variant": "plain"}})).runs
    assert plain.card(WILDCARDS)["citations"] == [LONGATTN]


def test_controls_see_their_runs_data_in_its_order_and_share_its_base_model():
    wiring = wiring_of(put("runs/main/controls", ["plain", "shuffled", "random_windows"]))
    runs, names = wiring.runs, {"seed": "0"}
    trainings = {(item["run"], item["loss"]): runs.settings(wildcards(**item)) for item in runs.trainings()}
    assert list(trainings) == [
        ("main", "dense"),
        ("main", "control~plain"),
        ("main", "dense~shuffled"),
        ("main~random_windows", "control~plain"),
    ]
    assert len({settings["seed"] for settings in trainings.values()}) == 1
    assert trainings["main", "dense~shuffled"]["loss"] == trainings["main", "dense"]["loss"] | {
        "shuffle_weights": True
    }
    random = wildcards(run="main~random_windows", loss="control~plain", **names)
    assert runs.kept(random) == ["results/selections/drawn.kept.parquet"]
    assert runs.scores(random) == {"index": [], "scores": []}
    assert wiring.evaluations.all() == [
        f"results/evaluations/{model}/position_nll.parquet"
        for model in (
            "main/base",
            "main/dense/seed0",
            "main/control~plain/seed0",
            "main/dense~shuffled/seed0",
            "main~random_windows/control~plain/seed0",
        )
    ]
    evaluations = wiring.reports.summary_settings()["evaluations"]
    assert {row["base"] for row in evaluations} == {"results/evaluations/main/base/position_nll.parquet"}
    shown = wiring.reports.figure_settings()["evaluations"]["position_nll"]["tables"]
    assert [name for name in shown if "base" in name] == ["main/base"]
