"""What each rule is given of the settings: a difference makes it run again."""

import json

import pytest

from tiny_settings import TINY
from tiny_wiring import WILDCARDS, put, wildcards, wiring_of

BLOCKS = {
    "download_model": lambda wiring: wiring.models.settings(WILDCARDS),
    "plan_shards": lambda wiring: wiring.texts.planning(WILDCARDS),
    "read_documents": lambda wiring: wiring.texts.reading_settings(WILDCARDS),
    "assign_windows": lambda wiring: wiring.windows.windowing_settings(WILDCARDS),
    "assign_windows held out": lambda wiring: wiring.windows.windowing_settings(wildcards(shard="held_out")),
    "score_short": lambda wiring: wiring.scores.scorer_settings(WILDCARDS),
    "score_attention": lambda wiring: wiring.scores.scorer_settings(wildcards(scorer="tiny-layer0")),
    "select_windows": lambda wiring: wiring.selections.settings(WILDCARDS),
    "train": lambda wiring: wiring.runs.settings(WILDCARDS),
    "evaluate": lambda wiring: wiring.evaluations.settings(WILDCARDS),
}


def blocks(wiring):
    return {rule: json.dumps(block(wiring), sort_keys=True) for rule, block in BLOCKS.items()}


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
        ("evaluations", {"other": {"task": "position_nll", "position_bins": 2}}, ""),
        ("device/tflops", 312, ""),
    ],
)
def test_a_setting_touches_the_rules_that_use_it_and_no_other(path, value, rules):
    before, after = blocks(wiring_of()), blocks(wiring_of(put(path, value)))
    touched = {rule for rule in BLOCKS if before[rule] != after[rule]}
    expected = set(rules.replace("held_out", "").split())
    if "held_out" in rules:
        expected.add("assign_windows held out")
    assert touched == expected
