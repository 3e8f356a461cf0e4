import re

from longspan_workflow.wiring.places import Places, alternatives, as_json
from tiny_chain import PATHS
from tiny_wiring import WILDCARDS


def templates(places):
    return {name: path for name, path in vars(places).items() if isinstance(path, str)}


def test_paths_are_those_of_the_contract():
    paths = {
        name: path.format(**vars(WILDCARDS), archive="a.tar.gz", figure="f")
        for name, path in templates(Places("results", "downloads")).items()
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
        "export": "results/exports/kept",
        "export_data": "results/exports/kept/data/00001.jsonl.zst",
        "export_manifest": "results/exports/kept/manifests/00001.jsonl.zst.json",
        "export_card": "results/exports/kept/README.md",
        "publication": "results/exports/kept/published.json",
        "run": "results/runs/main/dense/seed0",
        "evaluation": "results/evaluations/main/dense/seed0/position_nll.parquet",
        "frozen_weights": "results/frozen_weights.done",
        "prepared_task": "results/tasks/position_nll/short-128.parquet",
        "evaluation_table": "results/evaluation.tsv",
        "evaluation_markdown": "results/evaluation.md",
        "verdict": "results/verdict.txt",
        "estimate": "results/estimate.tsv",
        "settings_record": "results/settings.yaml",
        "summary": "results/summary.txt",
        "summary_table": "results/summary.tsv",
        "benchmarks": "results/benchmarks",
        "costs": "results/costs.tsv",
        "funnel": "results/funnel.tsv",
        "figure": "results/figures/f.svg",
        "shard_aggregate": "results/aggregates/windows/short-128/00001.json",
        "selection_aggregate": "results/aggregates/selections/half.json",
        "page": "results/report.html",
        "report": "results/report-snakemake.html",
    }


def test_users_find_files_where_the_rules_put_them():
    known = set(templates(Places("results", "downloads")).values())
    assert set(PATHS.values()) <= known


def test_logs_and_benchmarks_are_named_by_rule_and_wildcards():
    places = Places("results", "downloads")
    log = places.log("score_short", "windowing", "shard")
    assert log == "results/logs/score_short/{windowing}/{shard}.log"
    assert places.log("report") == "results/logs/report/all.log"
    benchmark = places.benchmark("score_short", "windowing", "shard")
    assert benchmark == "results/benchmarks/score_short/{windowing}/{shard}.tsv"
    assert places.benchmark("report") == "results/benchmarks/report/all.tsv"


def test_paths_follow_the_folders_that_are_set():
    places = Places("/r", "/d")
    assert all(path.startswith(("/r", "/d")) for path in templates(places).values())
    assert places.text_archive.startswith("/d/")


def test_names_are_patterns_of_what_is_defined():
    pattern = alternatives(["tiny-32", "tiny.32"])
    names = ("tiny-32", "tiny.32", "tiny_32", "tiny-layer0")
    assert [name for name in names if re.fullmatch(pattern, name)] == ["tiny-32", "tiny.32"]
    assert not re.fullmatch(alternatives([]), "")


def test_settings_on_the_command_line_are_json_with_sorted_keys():
    assert as_json({"b": "é", "a": 1}) == '{"a": 1, "b": "é"}'
    assert as_json(lambda wildcards: {"x": wildcards})(3) == '{"x": 3}'
