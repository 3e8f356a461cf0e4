"""select_windows, collect_weights, record_frozen_weights, evaluate and what the report shows."""

import copy
import json
import math
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import yaml

from longspan.store.tables import open_table, read_table, write_table
from tiny_chain import TINY, Chain


def error_of(result, script):
    assert result.code == 1
    return result.stderr.splitlines()[-1].rpartition("\r")[2].removeprefix(f"{script}: error: ")


def rows(path, kind):
    return read_table(path, kind)[0].to_pylist()


# select_windows


def test_the_best_half_of_each_category_is_kept_over_all_shards(chain):
    """methods.md 2: LDS = Z(DS) - alpha Z(Var), z-scores over the windows of one category."""
    selection = {row["data_id"]: row for row in rows(chain.path("selection"), "selection")}
    windows, scores = {}, {}
    for shard in ("00000", "00001"):
        windows |= {row["data_id"]: row for row in rows(chain.path("windows", shard=shard), "windows")}
        path = chain.path("scores", shard=shard, scorer="tiny-layer0")
        scores |= {row["data_id"]: row for row in rows(path, "attention_scores")}
    assert selection.keys() == windows.keys() == scores.keys()

    def z(values):
        return (values - values.mean()) / values.std()

    for category in ("prose", "rows"):
        ids = [data_id for data_id, row in windows.items() if row["category"] == category]
        strength, variance = (
            np.array([scores[data_id][name] for data_id in ids]) for name in ("strength", "variance_block")
        )
        expected = z(strength) - 0.5 * z(variance)
        np.testing.assert_allclose([selection[data_id]["score"] for data_id in ids], expected, rtol=1e-9)
        best = {ids[place] for place in np.argsort(-expected)[: len(ids) // 2]}
        assert {data_id for data_id in ids if selection[data_id]["kept"]} == best
    assert all(row["reason"] for row in selection.values())


def windows_with_text(chain):
    """Ids of all windows by category, with the text that each was cut from."""
    texts = {}
    for shard in ("00000", "00001"):
        documents = {
            row["document_id"]: row["text"] for row in rows(chain.path("documents", shard=shard), "documents")
        }
        for row in rows(chain.path("windows", shard=shard), "windows"):
            text = documents[row["document_id"]][row["char_start"] : row["char_stop"]]
            texts.setdefault(row["category"], {})[row["data_id"]] = text
    return texts


def gains(chain):
    found = {}
    for shard in ("00000", "00001"):
        for row in rows(chain.path("scores", shard=shard), "nll_scores"):
            found[row["data_id"]] = np.mean(np.subtract(row["short_nll"], row["long_nll"], dtype=np.float64))
    return found


@pytest.mark.parametrize("method", ["nll_gain", "gzip", "random"])
def test_other_methods_keep_the_best_half_of_each_category_too(chain, method):
    settings = copy.deepcopy(TINY)
    scorer = {"scorer": "tiny-32"} if method == "nll_gain" else {}
    settings["selections"]["half"] = {
        "windowing": "short-128", "method": method, "keep": {"ratio": 0.5}, **scorer
    }  # fmt: skip
    other = Chain(settings)
    other.make("select_windows")
    selection = {row["data_id"]: row for row in rows(other.path("selection"), "selection")}
    gain = gains(chain)
    scores_of = {
        "nll_gain": lambda texts: {data_id: gain[data_id] for data_id in texts},
        "gzip": lambda texts: {
            data_id: 1 - len(zlib.compress(text.encode(), 9)) / len(text.encode())
            for data_id, text in texts.items()
        },
        "random": lambda texts: {data_id: selection[data_id]["score"] for data_id in texts},
    }
    for texts in windows_with_text(chain).values():
        expected = scores_of[method](texts)
        assert {data_id: selection[data_id]["score"] for data_id in texts} == pytest.approx(expected)
        best = sorted(texts, key=lambda data_id: (-expected[data_id], data_id))[: len(texts) // 2]
        assert {data_id for data_id in texts if selection[data_id]["kept"]} == set(best)
    settings["seed"] += 1
    again = Chain(settings)
    again.make("select_windows")
    changed = {row["data_id"]: row for row in rows(again.path("selection"), "selection")} != selection
    assert changed == (method == "random")


def test_an_id_that_two_shards_hold_is_refused(chain):
    path = chain.path("windows", shard="00001")
    foreign = read_table(chain.path("windows"), "windows")[0].slice(0, 1)
    table, manifest = read_table(path, "windows")
    write_table(
        path,
        "windows",
        pa.concat_tables([part.replace_schema_metadata(None) for part in (table, foreign)]),
        settings=manifest.settings,
        inputs=manifest.inputs,
        tokenizer=manifest.tokenizer,
    )
    data_id = foreign.column("data_id")[0].as_py()
    settings = copy.deepcopy(TINY)
    settings["selections"]["half"] = {
        "windowing": "short-128", "method": "random", "keep": {"ratio": 0.5}
    }  # fmt: skip
    result = Chain(settings).run("select_windows")
    assert error_of(result, "select_windows") == f"1 ids occur more than once: {data_id}"
    twice = (
        f"{path} holds {data_id}, which is there already; delete it and run the same target again, "
        "which reruns assign_windows"
    )
    assert error_of(chain.run("select_windows"), "select_windows") == twice
    assert error_of(chain.run("train"), "train") == twice


def test_a_corpus_without_windows_is_refused(chain):
    for shard in ("00000", "00001"):
        for template, kind, names in (
            ("windows", "windows", {}),
            ("scores", "attention_scores", {"scorer": "tiny-layer0"}),
        ):
            path = chain.path(template, shard=shard, **names)
            manifest = open_table(path, kind)[1]
            write_table(path, kind, [], settings=manifest.settings, inputs=manifest.inputs)
    assert error_of(chain.run("select_windows"), "select_windows") == (
        "the corpus gives no window: every document is shorter; shorten window_tokens, or add text"
    )


def test_a_selection_over_incomplete_scores_is_refused(chain):
    path = chain.path("scores", shard="00001", scorer="tiny-layer0")
    table, manifest = read_table(path, "attention_scores")
    names = ("settings", "inputs", "stage_version", "tokenizer")
    same = {name: getattr(manifest, name) for name in names}
    write_table(path, "attention_scores", table.slice(1), **same)
    before = chain.path("selection").read_bytes()
    missing = table.column("data_id")[0].as_py()
    assert error_of(chain.run("select_windows"), "select_windows") == (
        f"scores cover 15 of 16 windows; first missing: {missing}; rerun score_attention for shard 00001 "
        f"(delete {path})"
    )
    assert chain.path("selection").read_bytes() == before


# collect_weights, record_frozen_weights


def test_the_index_leads_to_every_score(chain):
    for row in rows(chain.path("score_index"), "score_index"):
        scores = rows(chain.path("scores", shard=row["shard"]), "nll_scores")
        assert scores[row["row"]]["data_id"] == row["data_id"]


@pytest.mark.parametrize("how", ["doubled", "foreign", "stale"])
def test_doubled_foreign_and_stale_scores_are_refused(chain, how):
    path = chain.path("scores", shard="00001")
    table, manifest = read_table(path, "nll_scores")
    foreign = read_table(chain.path("scores"), "nll_scores")[0]
    other = foreign.slice(0, 1) if how == "foreign" else table.slice(2, 1)
    data_id = other.column("data_id")[0].as_py()
    if how == "stale":
        other = other.set_column(1, "tokens_digest", pa.array([0], pa.int64()))
        table = table.slice(0, 2)
    names = ("settings", "inputs", "stage_version", "tokenizer")
    write_table(
        path,
        "nll_scores",
        pa.concat_tables([table.replace_schema_metadata(None), other.replace_schema_metadata(None)]),
        **{name: getattr(manifest, name) for name in names},
    )
    before = chain.path("score_index").read_bytes()
    fault = {
        "foreign": f"holds {data_id}, a window of shard 00000",
        "doubled": f"holds {data_id} twice",
        "stale": f"holds a score of {data_id} for other tokens than it has now",
    }[how]
    rule = ", which reruns score_short" if how == "doubled" else ""
    assert error_of(chain.run("collect_weights"), "collect_weights") == (
        f"{path} {fault}; delete it and run the same target again{rule}"
    )
    assert chain.path("score_index").read_bytes() == before


def test_frozen_weights_hold_counts_and_digests(chain):
    record = json.loads(chain.path("frozen_weights").read_text())
    index = open_table(chain.path("score_index"), "score_index")[1]
    assert record == {
        "short-128/tiny-32": {
            "windows": 16,
            "index": index.data_digest,
            "shards": {
                f"scores/{shard}": open_table(chain.path("scores", shard=shard), "nll_scores")[1].data_digest
                for shard in ("00000", "00001")
            },
        }
    }


def test_without_frozen_scorers_the_record_is_empty(chain):
    settings = copy.deepcopy(TINY)
    settings["losses"]["dense"] = {"variant": "plain"}
    Chain(settings).make("record_frozen_weights")
    assert json.loads(chain.path("frozen_weights").read_text()) == {}


# evaluate


def test_held_out_loss_is_that_of_the_model_by_position(chain):
    from transformers import AutoModelForCausalLM

    from longspan.windows.store import WindowStore

    store = WindowStore(
        {"held_out": (chain.path("tokens", shard="held_out"), chain.path("windows", shard="held_out"))}
    )
    folders = {"base": Path("inputs/model"), "dense/seed0": chain.path("run") / "model"}
    for trained, folder in folders.items():
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        found = rows(chain.path("evaluation", trained=trained), "evaluation")
        assert {row["data_id"] for row in found} == set(store.data_ids)
        assert {row["document_id"] for row in found} == {
            f"inputs/prose/prose_{number}.txt" for number in (0, 1)
        }
        data_id = store.data_ids[3]
        ids = torch.from_numpy(store.input_ids(data_id))
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1].double()
        nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        parts = [row for row in found if row["data_id"] == data_id]
        assert len(parts) == 8
        for part in parts:
            expected = nll[part["position_start"] - 1 : part["position_stop"] - 1].sum().item()
            assert part["nll_sum"] == pytest.approx(expected, rel=1e-5)


def test_as_many_windows_of_each_work_are_evaluated(chain):
    settings = copy.deepcopy(TINY)
    settings["evaluation"] = {"windows_per_document": 2, "position_bins": 3}
    few = Chain(settings)
    few.make("evaluate")
    found = rows(few.path("evaluation"), "evaluation")
    assert len(found) == 2 * 2 * 3
    # Base and trained model are measured on the same windows.
    few.make("evaluate", trained="base")
    base = rows(few.path("evaluation", trained="base"), "evaluation")
    assert [row["data_id"] for row in base] == [row["data_id"] for row in found]


def test_held_out_works_shorter_than_a_window_are_refused(chain):
    path = chain.path("windows", shard="held_out")
    manifest = open_table(path, "windows")[1]
    names = ("settings", "inputs", "tokenizer")
    write_table(path, "windows", [], **{name: getattr(manifest, name) for name in names})
    assert error_of(chain.run("evaluate"), "evaluate") == (
        "no held-out window: the works under hold_out are shorter than a window; hold out others"
    )


# summarize_results, draw_figures, record_settings


def test_the_summary_says_what_the_tables_hold(chain):
    lines = chain.path("summary_table").read_text().splitlines()
    assert lines[0] == "quantity\tname\tvalue"
    table = {tuple(line.split("\t")[:2]): line.split("\t")[2] for line in lines[1:]}
    assert table["documents", "short"] == "9 (prose 4, rows 5)"
    assert table["windows", "short-128"] == "16 (prose 8, rows 8)"
    assert table["tokens", "short-128"] == "2,048 (128 a window)"
    nll = [
        row["short_nll"]
        for shard in ("00000", "00001")
        for row in rows(chain.path("scores", shard=shard), "nll_scores")
    ]
    assert table["mean short NLL", "short-128/tiny-32"] == f"{np.mean(nll):.4f} nats a token (16 windows)"
    assert table["windows kept", "half"] == "8 of 16"
    ours, drawn = (
        {row["data_id"]: row for row in rows(chain.path("selection", selection=name), "selection")}
        for name in ("half", "drawn")
    )
    common = sum(row["kept"] and drawn[data_id]["kept"] for data_id, row in ours.items())
    assert re.fullmatch(
        r"-?0\.\d\d \(16 windows; prose -?0\.\d\d, rows -?0\.\d\d\), "
        f"{common} of 8 kept by both",
        table["rank correlation", "half, drawn"],
    )
    losses = [row["loss_weighted"] for row in rows(chain.path("run") / "metrics.parquet", "training_metrics")]
    assert table["training loss", "main/dense/seed0"] == (
        f"{losses[0]:.4f} → {losses[-1]:.4f} ({len(losses)} updates)"
    )

    # Of 127 targets of a window of 128 tokens those with 1 to 31 tokens of context.
    assert table["short context", "main/dense/seed0"] == "24.4% of the targets under 32 tokens of context"

    def perplexity(trained):
        found = rows(chain.path("evaluation", trained=trained), "evaluation")
        tokens = sum(row["position_stop"] - row["position_start"] for row in found)
        return math.exp(sum(row["nll_sum"] for row in found) / tokens)

    count = len(rows(chain.path("windows", shard="held_out"), "windows"))
    assert table["held-out perplexity", "main/dense/seed0"] == (
        f"{perplexity('base'):.3f} → {perplexity('dense/seed0'):.3f} ({count} windows of 2 works)"
    )
    assert len(table) == 10
    # The text says the same, in columns.
    summary, verdict = chain.path("summary").read_text().split("\n\nVerdict\n\n")
    assert "".join(verdict.split()) == "".join(chain.path("verdict").read_text().split())
    text = summary.splitlines()
    assert [line.split()[-1] for line in text] == [line.split()[-1] for line in lines[1:]]
    assert len({line.index(name) for (_, name), line in zip(table, text, strict=True)}) == 1


def test_the_table_of_evaluations_and_the_verdict_are_of_the_tables(chain):
    table = pd.read_csv(chain.path("evaluation_table"), sep="\t").set_index(["loss", "group"])
    for loss, trained in (("base", "base"), ("dense", "dense/seed0")):
        found = pd.DataFrame(rows(chain.path("evaluation", trained=trained), "evaluation"))
        mean = found["nll_sum"].sum() / (found["position_stop"] - found["position_start"]).sum()
        assert table.loc[(loss, "all"), "mean"] == pytest.approx(mean)
        assert table.loc[(loss, "all"), "clusters"] == 2
    trained, base = table.loc[("dense", "all")], table.loc[("base", "all")]
    assert trained["base_difference"] == pytest.approx(trained["mean"] - base["mean"], abs=1e-6)
    assert trained["base_difference_low"] < trained["base_difference"] < trained["base_difference_high"]
    # The short context of the loss's scorer.
    assert {"within 32 tokens", "beyond 32 tokens"} < set(table.index.get_level_values("group"))
    (verdict,) = chain.path("verdict").read_text().splitlines()
    assert verdict.startswith("main/dense by position_nll: ")
    assert "The run has no control" in verdict
    assert "2 documents are few" in verdict
    assert chain.path("evaluation_markdown").read_text().count("| main/dense |") == 3


def test_figures_are_drawn_for_what_is_there(chain):
    drawn = {path.stem: path.read_text() for path in Path("results/figures").iterdir()}
    assert sorted(drawn) == ["evaluation-position_nll", "exposure", "selections", "trainings"]
    for content in drawn.values():
        assert content.startswith("<?xml")
        assert content.rstrip().endswith("</svg>")
    settings = copy.deepcopy(TINY)
    settings["runs"]["main"]["selection"] = None
    settings["exports"] = {}
    shutil.rmtree("results/figures")
    Chain(settings).make("draw_figures")
    assert sorted(path.stem for path in Path("results/figures").iterdir()) == [
        "evaluation-position_nll",
        "exposure",
        "trainings",
    ]


def test_recorded_settings_are_complete_and_can_be_used_again(chain):
    recorded = yaml.safe_load(chain.path("settings_record").read_text())
    assert recorded.keys() > TINY.keys()
    for script in ("record_settings", "train", "score_short"):
        assert Chain(recorded).arguments(script) == chain.arguments(script)
