"""The page's data, against the tables that they come from."""

import base64
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longspan.reporting.page.counts import GAIN_EDGES, NLL_EDGES
from longspan.reporting.page.reader import NLL_STEP
from longspan.store.tables import read_table
from longspan.weighting.exposure import ContextHistogram
from longspan.weighting.variant import loss_of_settings
from longspan.weighting.weights import token_weights, weights_by_context
from tiny_chain import TINY


def page_data() -> dict:
    page = Path("results/report.html").read_text(encoding="utf-8")
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def stored(shard):
    rows = read_table(f"results/scores/short-128/tiny-32/{shard}.parquet", "nll_scores")[0].to_pylist()
    return {row["data_id"]: row for row in rows}


def weights_of(row, block=None):
    block = {"variant": "dense"} if block is None else block
    nll = [torch.tensor(row[name], dtype=torch.float32)[None] for name in ("long_nll", "short_nll")]
    loss, window_tokens = loss_of_settings(block), nll[0].shape[1] + 1
    weights = token_weights(*nll, **vars(loss.weighting()), sequence_ids=[row["data_id"]])
    whole = ContextHistogram.of_documents({window_tokens: 1})
    if (context := loss.context_weights(whole, window_tokens)) is not None:
        weights = weights_by_context(weights, context, context_tokens=torch.arange(1, window_tokens)[None])
    return weights[0].double().numpy()


def test_counts_of_a_shard_are_those_of_its_store(chain):
    counts = json.loads(chain.path("shard_aggregate").read_text())["counts"]["stores"]["tiny-32"]
    rows = stored("00000").values()
    short, long = (np.array([row[name] for row in rows], np.float64) for name in ("short_nll", "long_nll"))
    assert (counts["windows"], counts["entries"]) == (len(short), short.size)
    assert counts["short"] == np.histogram(np.clip(short, 0, 16), NLL_EDGES)[0].tolist()
    gain = np.clip(short - long, GAIN_EDGES[0], GAIN_EDGES[-1])
    assert counts["gain"] == np.histogram(gain, GAIN_EDGES)[0].tolist()
    assert counts["hurt_entries"] == (short < long).sum()
    weights = np.stack([weights_of(row) for row in rows])
    dense = counts["losses"]["dense"]
    assert dense["weight_sum"] == pytest.approx(weights.sum())
    assert dense["hurt_weight"] == pytest.approx(weights[short < long].sum())
    effective = weights.sum(1) ** 2 / (weights**2).sum(1) / weights.shape[1]
    assert dense["effective"] == pytest.approx(effective.sum())
    ids = [ids_of("00000", data_id)[1:] for data_id in stored("00000")]
    heaviest = np.bincount(np.concatenate(ids), weights.ravel()).argmax()
    assert next(iter(dense["types"])) == str(heaviest)


def ids_of(shard, data_id):
    windows = read_table(f"results/windows/short-128/{shard}.parquet", "windows")[0].to_pylist()
    tokens = read_table(f"results/tokens/short/tiny/{shard}.parquet", "tokens")[0].to_pylist()
    window = next(row for row in windows if row["data_id"] == data_id)
    ids = next(row["input_ids"] for row in tokens if row["document_id"] == window["document_id"])
    return np.array(ids[window["token_start"] : window["token_stop"]])


def unpacked(window) -> dict:
    """As the page's script does it."""
    content = memoryview(gzip.decompress(base64.b64decode(window["block"])))

    def take(size):
        nonlocal content
        part, content = content[:size], content[size:]
        return np.frombuffer(part, np.uint8)

    def planes(count):
        high, low = take(count), take(count)
        return high.astype(int) * 256 + low

    found = {"text": bytes(take(window["text"])).decode(), "lengths": planes(window["tokens"])}
    if window.get("scored"):
        entries = window["tokens"] - 1
        found |= {name: planes(entries) * NLL_STEP for name in ("short", "long")}
        for loss in window["losses"]:
            levels, (low, high) = take(entries), loss["scale"]
            found[loss["name"]] = np.where(levels == 0, 0, np.exp(low + (levels - 1.0) / 254 * (high - low)))
    assert not content
    return found


def test_windows_to_read_hold_text_scores_and_weights_of_every_loss(chain):
    data = page_data()
    names = [window["id"] for window in data["reader"]["windows"]]
    assert len(names) == len(set(names)) == 16
    for window in data["reader"]["windows"]:
        found, row = unpacked(window), stored(window["id"].split("_")[0][-5:])[window["id"]]
        shard = window["id"].split("_")[0][-5:]
        documents = read_table(f"results/corpora/short/documents/{shard}.parquet", "documents")[0].to_pylist()
        text = next(entry["text"] for entry in documents if entry["document_id"] == window["document"])
        assert found["text"] in text
        # Lengths are in the units of a browser's strings.
        assert found["lengths"].sum() == len(found["text"].encode("utf-16-le")) // 2
        for name in ("short", "long"):
            np.testing.assert_allclose(found[name], row[f"{name}_nll"], atol=NLL_STEP / 2 + 1e-9)
        assert [loss["name"] for loss in window["losses"]] == [
            "dense",
            "exact",
            "longce",
            "longfilter",
            "npmi",
            "plain",
            "ppmi",
        ]
        for loss in window["losses"]:
            exact = weights_of(row, {"variant": loss["name"]})
            positive = exact > 0
            np.testing.assert_array_equal(found[loss["name"]] > 0, positive)
            low, high = loss["scale"]
            step = (high - low) / 254
            np.testing.assert_allclose(
                np.log(found[loss["name"]][positive]), np.log(exact[positive]), atol=step / 2 + 1e-6
            )


def test_the_page_says_what_the_tables_say(chain):
    data = page_data()
    assert [selection["name"] for selection in data["selections"]] == ["half", "drawn"]
    kept = read_table("results/selections/half.parquet", "selection")[0].to_pandas()["kept"]
    assert data["selections"][0]["kept"] == kept.sum() == 8
    (funnel,) = data["funnel"]
    assert (
        sum(row["drawn"] for row in funnel["categories"])
        == 16 * TINY["windowings"]["short-128"]["window_tokens"]
    )
    assert data["downloads"]["funnel.tsv"] == Path("results/funnel.tsv").read_text()
    assert [row["name"] for row in data["helped"]["rows"]] == ["main/base", "main/dense"]
    assert len(data["verdict"]["cards"]) == 4
    assert Path("results/verdict.txt").read_text().startswith(data["verdict"]["sentence"])
