"""A job gets by with the files that its rule names as inputs, and its parameters tell of its code."""

import argparse
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from foreign_scorer import make_foreign_scorer
from longspan.store.code import stage_version
from longspan.weighting.variant import LOSS_VARIANTS
from rule_commands import as_config, rule_job
from tiny_chain import NAMES, RULES, SCORERS, TINY, Chain, Result, code_of
from tiny_inputs import make_inputs
from whole_settings import whole_settings

SHARDS = ("00000", "00001")
ALL_SHARDS = (*SHARDS, "held_out")
STAGES = {
    "score_short": "scoring.nll",
    "score_attention": "scoring.attention_statistics",
    "score_ladm": "scoring.span_attention",
    "score_prolong": "scoring.segment_pairs",
    "train": "training.loop",
}
VARIANTS = {"export_windows": [LOSS_VARIANTS.source_file("dense")]}
# Estimates are made whenever they are asked for; a pinned archive has a digest.
WITHOUT_CODE = {"estimate", "download_texts"}


def settings() -> dict:
    """The whole run, with a selection by each method and texts compared with held-out ones, and with short
    documents of another corpus than the windows'."""
    found = whole_settings()
    rows = {key: value for key, value in found["corpora"]["short"]["sources"][1].items() if key != "group_by"}
    found["corpora"]["lines"] = {"shards": 1, "sources": [rows]}
    found["mixtures"]["mixed"]["short"][0]["corpus"] = "lines"
    found["corpora"]["short"]["clean_up"] = {"overlap": {"files": ["inputs/test_set.txt"]}}
    common = {"windowing": "short-128", "keep": {"ratio": 0.5}}
    found["selections"] |= {
        "gain": common | {"method": "nll_gain", "scorer": "tiny-32"},
        "information": common | {"method": "longfilter", "scorer": "tiny-32"},
        "spans": common | {"method": "ladm", "scorer": "tiny-spans"},
        "pairs": common | {"method": "prolong", "scorer": "tiny-pairs"},
        "packed": common | {"method": "gzip"},
    }
    found["scorers"]["tiny-32"] = found["scorers"]["gpt2-32"] | {"model": "tiny"}
    found["scorers"] |= {name: TINY["scorers"][name] for name in ("tiny-spans", "tiny-pairs")}
    found["report"]["compare_selections"] = ["drawn", "gain", "packed", "information", "spans", "pairs"]
    found["exports"]["kept"]["repo"] = "owner/kept"
    found["evaluations"] |= {"codes": {"task": "needle", "lengths": [256], "depths": [0.5], "samples": 2}}
    found["runs"]["main"]["evaluations"].append("codes")
    return found


COMPARED = settings()["report"]["compare_selections"]
CONFIG = as_config(settings())
# Every job of the run, in an order in which each finds what it needs.
JOBS = [
    *(("download_model", {"model": model}) for model in ("tiny", "gpt2")),
    *(("plan_shards", {"corpus": corpus}) for corpus in ("short", "lines")),
    ("read_documents", {"shard": "held_out"}),
    ("index_references", {}),
    *(("read_documents", {"shard": shard}) for shard in SHARDS),
    *((script, {"corpus": "lines"}) for script in ("read_documents", "tokenize_documents")),
    *(
        (script, {"shard": shard})
        for script in ("tokenize_documents", "assign_windows")
        for shard in ALL_SHARDS
    ),
    *(("score_attention", {"shard": shard, "scorer": "tiny-layer0"}) for shard in SHARDS),
    *(
        (rule, {"shard": shard, "scorer": SCORERS[rule]})
        for rule in ("score_short", "score_ladm", "score_prolong")
        for shard in SHARDS
    ),
    *(("select_windows", {"selection": name}) for name in ("half", *COMPARED)),
    ("list_kept_windows", {}),
    *(("score_short", {"shard": shard, "scorer": "gpt2-32"}) for shard in SHARDS),
    *(("collect_weights", {"scorer": scorer}) for scorer in ("gpt2-32", "tiny-32")),
    ("record_frozen_weights", {}),
    *(("export_windows", {"shard": shard}) for shard in SHARDS),
    ("write_data_card", {}),
    *(("train", {"loss": loss}) for loss in ("dense", "dense~shuffled")),
    ("prepare_task", {"evaluation": "key"}),
    ("make_task", {"evaluation": "codes"}),
    *(
        ("evaluate", {"trained": trained, "evaluation": evaluation})
        for trained in ("base", "dense/seed0", "dense~shuffled/seed0")
        for evaluation in ("position_nll", "key", "codes")
    ),
    ("compare_models", {}),
    ("summarize_results", {}),
    ("draw_figures", {}),
    ("record_settings", {}),
    *(("aggregate_shard", {"shard": shard}) for shard in ALL_SHARDS),
    *(("aggregate_selection", {"selection": name}) for name in ("half", *COMPARED)),
    ("tabulate_costs", {}),
    ("build_report", {}),
]


def test_every_script_takes_the_arguments_of_its_rule(monkeypatch):
    """None is missing that the script must have, and none unknown; nothing runs."""

    def parse_and_end(parser, arguments=None):
        parse(parser, arguments)
        raise SystemExit(0)

    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    chain = Chain(settings())
    for script, names in [*JOBS, ("publish_export", {})]:
        result = chain.run(script, **names)
        assert result == Result(0, "", ""), f"{script}: {result.stderr}"


def test_the_report_is_given_all_that_it_waits_for(tmp_path):
    job = rule_job("report", NAMES, CONFIG, tmp_path)
    assert {
        f"results/{name}" for name in ("settings.yaml", "summary.tsv", "funnel.tsv", "evaluation.tsv")
    } < set(job.inputs)
    assert len([path for path in job.inputs if path.startswith("results/figures/")]) == 6
    assert set(job.inputs) < set(shlex.split(job.command))


@pytest.mark.parametrize("rule", RULES)
def test_a_job_runs_again_with_other_code(tmp_path_factory, rule):
    """Its own and its library's, or by the version of a stage that costs hours."""
    if rule in WITHOUT_CODE:
        return
    names = {**NAMES, "scorer": SCORERS.get(rule, "tiny-32")}
    names |= {"evaluation": {"make_task": "codes", "prepare_task": "key"}.get(rule, names["evaluation"])}
    params = rule_job(rule, names, CONFIG, tmp_path_factory.getbasetemp()).params
    if rule in STAGES:
        assert params["version"] == stage_version(STAGES[rule])
    else:
        # The weights of an export are by the loss's variant.
        assert params["code"] == code_of(rule, *VARIANTS.get(rule, ()))


def bring(paths, home: Path) -> None:
    """Copy files from `home` to here, and what belongs to them: a model's folder, a corpus's plans."""
    for path in map(Path, paths):
        kept_with_it = {"longspan.json": path.parent, "plan.json": path.with_suffix("")}.get(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kept_with_it:
            shutil.copytree(home / kept_with_it, kept_with_it, dirs_exist_ok=True)
        if not path.exists():
            shutil.copyfile(home / path, path)


def stores_of(paths) -> list[Path]:
    """Scores that indexes are of."""
    folders = [Path(path).parent for path in paths if Path(path).name == "index.parquet"]
    return [folder / f"{shard}.parquet" for folder in folders for shard in SHARDS]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which every job has run, each in a folder of its own that held its inputs alone."""
    home = tmp_path_factory.mktemp("home")
    make_inputs(home / "inputs")
    make_foreign_scorer(home / "inputs")
    for name in ("test_set.txt", "prose/prose_6.txt"):
        (home / "inputs" / name).write_text("a question of some test, and the answer to it. " * 4)
    chain, before = Chain(settings()), Path.cwd()
    try:
        for number, (script, names) in enumerate(JOBS):
            alone = tmp_path_factory.mktemp(f"job{number}")
            os.chdir(alone)
            job = rule_job(script, {**NAMES, **names}, CONFIG, home)
            bring(job.inputs, home)
            if script == "summarize_results":
                # An index is there when its store is whole; the DAG has no edge for each of its shards.
                bring(stores_of(job.inputs), home)
            if script == "read_documents":
                # A shard's part of the raw files is known to its plan alone.
                bring(rule_job("plan_shards", {**NAMES, **names}, CONFIG, home).inputs, home)
            given = {path for path in Path().rglob("*") if path.is_file()}
            result = chain.run(script, **names)
            assert result.code == 0, f"{script} with its inputs alone: {result.stderr}"
            for path in Path().rglob("*"):
                if path.is_file() and path not in given:
                    (home / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, home / path)
            made = [path for path in job.outputs if not (home / path).exists()]
            assert not made, f"{script} did not make {made}"
    finally:
        os.chdir(before)
    return home


def test_every_job_gets_by_with_its_inputs_alone(home):
    assert len(list((home / "results/figures").iterdir())) == 6
    rules = {script for script, _ in JOBS}
    assert set(RULES) - rules == {
        "download_texts",
        "estimate",
        "pin_revisions",
        "publish_export",
    }


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def test_each_rule_hands_on_what_the_settings_ask_for(home):
    """What a job does otherwise if its command lacks an option that scripts can do without."""
    results = home / "results"
    selections = {path.name: rows(path) for path in (results / "selections").iterdir()}
    dropped = [row for shard in SHARDS for row in rows(results / f"corpora/short/dropped/{shard}.parquet")]
    assert [(row["document_id"], row["reason"]) for row in dropped] == [
        ("inputs/prose/prose_6.txt", "overlap")
    ]
    kept = {row["data_id"] for row in selections["half.parquet"] if row["kept"]}
    everything = {row["data_id"] for row in selections["half.parquet"]}
    assert len(kept) == len(everything) / 2 == 8
    for scorer, expected in ("gpt2-32", kept), ("tiny-32", everything):
        store = results / "scores/short-128" / scorer
        assert {row["data_id"] for shard in SHARDS for row in rows(store / f"{shard}.parquet")} == expected
        assert {row["data_id"] for row in rows(store / "index.parquet")} == expected
    done = json.loads((results / "frozen_weights.done").read_text())
    assert set(done) == {"short-128/gpt2-32"}
    run = results / "runs/main/dense/seed0"
    assert sorted({row["step"] for row in rows(run / "guard.parquet")}) == [0, 2, 4]
    metrics = rows(run / "metrics.parquet")
    assert [row["weight_std"] == 0 for row in metrics].count(True) == 1  # a packed sequence
    assert all(np.std(row["loss_weights"]) > 0 for row in exported(home))
    assert {row["data_id"] for row in exported(home)} == kept
    assert list((run / "logs").glob("events.out.tfevents.*"))  # of `execution`


def exported(home: Path) -> list[dict]:
    found = []
    for path in sorted((home / "results/exports/kept/data").iterdir()):
        lines = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read().splitlines()
        found += [json.loads(line) for line in lines]
    return found


def test_whoever_publishes_or_reports_waits_for_what_is_published_or_reported(home):
    job = rule_job("publish_export", {**NAMES, "ending": "jsonl.zst"}, CONFIG, home)
    folder = Path("results/exports/kept")
    data, manifests = ([folder / f"{kind}/{shard}.{ending}" for shard in SHARDS] for kind, ending in (
        ("data", "jsonl.zst"), ("manifests", "jsonl.zst.json")))  # fmt: skip
    assert set(map(Path, job.inputs)) == {folder / "README.md", *data, *manifests}
    job = rule_job("write_data_card", NAMES, CONFIG, home)
    assert set(map(Path, job.inputs)) == {*data, *manifests}


def test_a_shard_is_read_again_when_its_plan_is_another(home):
    plans = [
        rule_job("read_documents", {**NAMES, "shard": shard}, CONFIG, home).params for shard in ALL_SHARDS
    ]
    assert len({plan["plan_digest"] for plan in plans} - {""}) == 3
