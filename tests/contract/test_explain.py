"""longspan explain: why a window or a document is kept or not."""

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from longspan.store.tables import read_table
from longspan_workflow.__main__ import main
from refusals import refused
from tiny_chain import TINY, Chain


@pytest.fixture
def explain(chain):
    """The command over the tiny chain's results; what it prints, read again."""

    def ask(name, settings=TINY):
        with open("config.yaml", "w") as file:
            yaml.safe_dump(settings, file)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            main(["explain", name])
        return yaml.safe_load(output.getvalue())

    return ask


def rows(path, kind):
    return read_table(path, kind)[0].to_pylist()


@pytest.mark.parametrize("kept", [True, False])
def test_a_scored_window_is_explained_by_its_selection(chain, explain, kept):
    selection = next(row for row in rows(chain.path("selection"), "selection") if row["kept"] is kept)
    shard = selection["data_id"].split("-")[1].split("_")[0]
    answer = explain(selection["data_id"])
    assert list(answer["windowings"]) == ["short-128"]
    found = answer["windowings"]["short-128"]
    assert found["kept"] is kept
    assert found["selections"]["half"] == {
        name: selection[name] for name in ("kept", "reason", "score", "rank", "percentile")
    }
    assert found["trainings"] == (["main/dense"] if kept else [])
    assert found["exports"] == (["kept"] if kept else [])
    # Text and span.
    window = next(
        row
        for row in rows(chain.path("windows", shard=shard), "windows")
        if row["data_id"] == selection["data_id"]
    )
    assert found["span"] == {name: window[name] for name in found["span"]}
    documents = {row["document_id"]: row for row in rows(chain.path("documents", shard=shard), "documents")}
    document = documents[window["document_id"]]
    text = document.pop("text")[window["char_start"] : window["char_stop"]]
    assert found["document"] == document
    assert found["text"]["characters"] == len(text)
    assert found["text"].get("whole", text[:200]) in (text, text[:200])
    # Scores.
    nll = {row["data_id"]: row for row in rows(chain.path("scores", shard=shard), "nll_scores")}[
        selection["data_id"]
    ]
    assert found["scores"]["tiny-32"] == pytest.approx(
        {
            "mean_short_nll": np.mean(nll["short_nll"]),
            "mean_long_nll": np.mean(nll["long_nll"]),
            "mean_gain": np.mean(nll["short_nll"]) - np.mean(nll["long_nll"]),
        }
    )
    attention = rows(chain.path("scores", shard=shard, scorer="tiny-layer0"), "attention_scores")
    expected = next(row for row in attention if row["data_id"] == selection["data_id"])
    assert found["scores"]["tiny-layer0"] == {
        name: expected[name] for name in ("strength", "variance_block", "variance_matrix")
    }
    spans = rows(chain.path("scores", shard=shard, scorer="tiny-spans"), "ladm_scores")
    expected = next(row for row in spans if row["data_id"] == selection["data_id"])
    assert found["scores"]["tiny-spans"] == {"layer_scores": expected["layer_scores"]}
    pairs = found["scores"]["tiny-pairs"]
    assert pairs.keys() == {"mean_segment_nll", "mean_pair_nll", "later", "earlier"}
    assert len(pairs["later"]) == len(pairs["earlier"]) == 10


def test_every_setting_that_made_a_window_is_there(chain, explain):
    data_id = rows(chain.path("windows"), "windows")[0]["data_id"]
    made_by = explain(data_id)["windowings"]["short-128"]["made_by"]
    assert made_by["source"]["category"] == "prose"
    assert made_by["windows"]["settings"]["window_tokens"] == 128
    assert made_by["scores of tiny-32"]["settings"]["base_stride"] == 24
    assert made_by["selection half"]["settings"]["keep"] == {"ratio": 0.5}
    assert made_by["model tiny"]["source"] == {"kind": "folder", "path": "inputs/model"}
    # Of tables over all shards, the digests of this one.
    assert made_by["selection half"]["inputs"].keys() == {"windows/00000", "scores/00000"}


def test_a_window_that_was_not_drawn_is_explained_by_the_sampling(chain, explain):
    drawn = {row["data_id"] for row in rows(chain.path("windows"), "windows")}
    data_id = next(name for name in (f"short-00000_{n:07d}" for n in range(1, 99)) if name not in drawn)
    found = explain(data_id)["windowings"]["short-128"]
    assert found["kept"] is False
    assert found["why"].startswith("not drawn: its draw is place ")
    assert found["why"].endswith("in the shard, of which 4 are taken")
    assert found["scores"] == {}
    assert found["text"]["characters"] > 0


def test_a_held_out_window_is_explained(explain):
    found = explain("short-held_out_0000001")["windowings"]["short-128"]
    assert found["kept"] is False
    assert found["why"].startswith("held out")


def test_a_document_is_explained_with_the_fate_of_all_its_windows(chain, explain):
    answer = explain("inputs/prose/prose_2.txt")
    assert (answer["title"], answer["corpus"], answer["category"]) == ("prose_2", "short", "prose")
    assert len(answer["text"]["begins"]) == len(answer["text"]["ends"]) == 200
    windows = answer["windowings"]["short-128"]["windows"]
    kept = {row["data_id"] for row in rows(chain.path("selection"), "selection") if row["kept"]}
    assert {name for name, fate in windows.items() if fate["kept"]} == kept & windows.keys()
    assert len(windows) > len(kept & windows.keys())


def test_a_document_that_was_left_out_is_explained(chain, explain):
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["on_bad_document"] = "skip"
    with open("inputs/prose/prose_2.txt", "w") as file:
        file.write("\0")
    skipping = Chain(settings)
    skipping.make("plan_shards")
    for shard in ("00000", "00001"):
        skipping.make("read_documents", shard=shard)
    answer = explain("inputs/prose/prose_2.txt", settings)
    assert answer["kept"] is False
    assert answer["why"] == "left out: NUL bytes"
    assert answer["detail"] == "holds NUL bytes (at character 0): it is not text"
    assert answer["made_by"]["source"]["path"] == "inputs/prose/prose_2.txt"


def test_unknown_ids_name_the_nearest(explain):
    with refused(
        "no window or document inputs/prose/prose_22.txt; the nearest are: inputs/prose/prose_2.txt, "
        "inputs/prose/prose_5.txt, inputs/prose/prose_4.txt"
    ):
        explain("inputs/prose/prose_22.txt")
    with pytest.raises(
        ValueError, match=r"^no window short-00000_0000999; the nearest are: short-00000_0000\d\d\d, "
    ):
        explain("short-00000_0000999")


def test_a_document_with_an_id_of_its_own_is_traced_to_its_file(chain, explain):
    settings = copy.deepcopy(TINY)
    lines = [json.dumps({"key": f"own-{n}", "text": f"Text {n} " * 60}) + "\n" for n in range(4)]
    Path("inputs/keyed.jsonl").write_text("".join(lines))
    source = {"kind": "files", "paths": ["inputs/keyed.jsonl"], "category": "rows", "license": "MIT"}
    settings["corpora"]["short"]["sources"].append(source | {"id_column": "key"})
    Chain(settings).make_windows()
    answer = explain("own-2", settings)
    source = answer["windowings"]["short-128"]["made_by"]["source"]
    assert (source["path"], source["license"], source["id_column"]) == ("inputs/keyed.jsonl", "MIT", "key")
    assert "sha256" not in source
