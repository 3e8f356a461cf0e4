"""A run with select_first, a mixture, eval_steps and a scorer of a foreign tokenizer, texts to report."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
import zstandard
from transformers import AutoModelForCausalLM

from foreign_scorer import make_foreign_scorer
from longspan.store.shards import shard_names
from whole_settings import whole_settings

SETTINGS = whole_settings()
SHARDS = shard_names(SETTINGS["corpora"]["short"]["shards"])
TOKENS = SETTINGS["windowings"]["short-128"]["window_tokens"]


@pytest.fixture(scope="module")
def results(workflow):
    make_foreign_scorer(workflow.folder / "inputs")
    workflow.configfile.write_text(yaml.safe_dump(SETTINGS))
    workflow.run("all")
    return workflow.folder / "results"


@pytest.fixture(scope="module")
def kept(results):
    selection = pq.read_table(results / "selections/half.parquet").to_pylist()
    found = {row["data_id"] for row in selection if row["kept"]}
    assert 0 < len(found) < len(selection)
    return found


def rows(folder):
    return [row for shard in SHARDS for row in pq.read_table(folder / f"{shard}.parquet").to_pylist()]


def test_kept_windows_alone_are_scored_and_collected(results, kept):
    store = results / "scores/short-128/gpt2-32"
    assert {row["data_id"] for row in rows(store)} == kept
    assert set(pq.read_table(store / "index.parquet")["data_id"].to_pylist()) == kept
    # What the selection looks at has all of them.
    windows = {row["data_id"] for row in rows(results / "windows/short-128")}
    assert {row["data_id"] for row in rows(results / "scores/short-128/tiny-layer0")} == windows > kept
    done = json.loads((results / "frozen_weights.done").read_text())
    assert [store["windows"] for store in done.values()] == [len(kept)]


def test_scores_are_those_of_the_foreign_model_over_the_windows_ids(results):
    ids_of = {row["document_id"]: row["input_ids"] for row in rows(results / "tokens/short/tiny")}
    windows = {row["data_id"]: row for row in rows(results / "windows/short-128")}
    score = rows(results / "scores/short-128/gpt2-32")[0]
    window = windows[score["data_id"]]
    ids = torch.tensor(ids_of[window["document_id"]][window["token_start"] : window["token_stop"]])
    model = AutoModelForCausalLM.from_pretrained(results / "models/gpt2").eval()
    with torch.no_grad():
        logits = model(ids[None]).logits[0, :-1].double()
    nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    np.testing.assert_allclose(score["long_nll"], nll, rtol=1e-3)


def test_some_of_the_sequences_are_packed_short_documents_of_weight_one(results):
    metrics = pq.read_table(results / "runs/main/dense/seed0/metrics.parquet").to_pylist()
    packed = [row for row in metrics if row["weight_std"] == 0]
    assert (len(metrics), len(packed)) == (SETTINGS["runs"]["main"]["train"]["max_steps"], 1)
    assert packed[0]["loss_weighted"] == pytest.approx(packed[0]["loss_unweighted"], rel=1e-6)
    record = json.loads((results / "runs/main/dense/seed0/settings.json").read_text())
    assert record["settings"]["mixture"] == SETTINGS["mixtures"]["mixed"]["short"]


def test_held_out_windows_are_scored_every_so_many_updates(results):
    guard = pq.read_table(results / "runs/main/dense/seed0/guard.parquet").to_pylist()
    assert sorted({row["step"] for row in guard}) == [0, 2, 4]
    for step, trained in (0, "base"), (4, "dense/seed0"):
        evaluated = pq.read_table(results / f"evaluations/main/{trained}/position_nll.parquet").to_pylist()
        tokens = sum(row["position_stop"] - row["position_start"] for row in evaluated)
        mean = sum(row["nll_sum"] for row in evaluated) / tokens
        parts = [row for row in guard if row["step"] == step]
        guarded = sum(row["nll_mean"] * (row["position_stop"] - row["position_start"]) for row in parts)
        assert guarded / (TOKENS - 1) == pytest.approx(mean, rel=1e-5)


def test_every_model_is_measured_on_the_key_tokens_of_the_evaluator(results):
    prepared = pq.read_table(results / "tasks/key/short-128.parquet").to_pylist()
    positions = {row["data_id"]: row["key_positions"] for row in prepared}
    assert min(min(found, default=TOKENS) for found in positions.values()) >= 48
    for trained in ("base", "dense/seed0", "dense~shuffled/seed0"):
        rows = pq.read_table(results / f"evaluations/main/{trained}/key.parquet").to_pylist()
        assert {row["data_id"]: row["key_tokens"] for row in rows} == {
            data_id: len(found) for data_id, found in positions.items()
        }
        assert all(row["tokens"] == TOKENS - 1 for row in rows)
    table = (results / "evaluation.md").read_text()
    assert "| main/dense~shuffled (control) | LongPPL | all |" in table


def test_the_export_holds_the_kept_windows_with_their_weights(results, kept):
    exported = []
    for path in sorted((results / "exports/kept/data").iterdir()):
        lines = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read().splitlines()
        exported += [json.loads(line) for line in lines]
    assert {row["data_id"] for row in exported} == kept
    assert all(np.std(row["loss_weights"]) > 0 for row in exported)
    assert "gpt2" in (results / "exports/kept/README.md").read_text()


def test_the_summary_and_the_report_tell_of_it(results, kept):
    summary = (results / "summary.txt").read_text()
    assert f"{len(kept)} of " in summary
    assert "held-out perplexity" in summary
    assert "LongPPL" in summary
    assert "main/dense by key: " in summary
    assert "the same loss with shuffled weights" in " ".join(summary.split())
    report = (results / "report-snakemake.html").read_text()
    for name in ("summary.tsv", "funnel.tsv", *(f"{figure}.svg" for figure in FIGURES)):
        assert name in report
    assert sorted(path.stem for path in (results / "figures").iterdir()) == FIGURES


def test_nothing_is_left_to_do(workflow, results):
    assert "Nothing to be done" in workflow.run("all").stdout


FIGURES = ["evaluation-key", "evaluation-position_nll", "exposure", "selections", "trainings"]
