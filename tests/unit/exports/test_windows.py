import io
import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from longspan.exports import windows as windows_module
from longspan.exports.data_card import data_card
from longspan.exports.windows import (
    ExportWriter,
    LineWriter,
    exported_rows,
    frozen_weights,
    read_export_manifest,
)
from longspan.store.contracts import CONTRACTS
from longspan.store.tables import TableWriter, digest_file, open_table, read_table, write_table
from longspan.weighting.variant import loss_of_settings
from longspan.windows.assignment import Windowing, windows_of
from longspan.windows.shard import Shard
from refusals import refused

TEXTS = {"a.txt": "Zoë saw 🌊 and 日本 — twice.\n" * 3, "b.txt": "plain words only, " * 4}


def write_shard(folder, texts=TEXTS, window_tokens=8, bos_token_id=None, split=()):
    """Tables over texts whose tokens are their characters; `split` tokens begin inside a character."""
    documents = [
        {
            "document_id": name,
            "source": "archive.tar",
            "category": "prose" if name < "b" else "verse",
            "license": "CC0-1.0",
            "title": name.upper(),
            "text": text,
        }
        for name, text in texts.items()
    ]
    with TableWriter(folder / "documents.parquet", "documents", settings={}) as table:
        for row in documents:
            table.append(row, len(row["text"]))
    digest = open_table(folder / "documents.parquet", "documents")[1].data_digest
    tokens = []
    for row in documents:
        # One token a character; a split one has two, of which the second begins where the first does.
        starts = [start for start in range(len(row["text"])) for _ in range(1 + (start in split))]
        positions = [place for place in range(1, len(starts)) if starts[place] == starts[place - 1]]
        tokens.append(
            {
                "document_id": row["document_id"],
                "input_ids": [ord(row["text"][start]) % 997 for start in starts],
                "char_deltas": np.diff([0, *starts, len(row["text"])]),
                "split_positions": positions,
            }
        )
    write_table(
        folder / "tokens.parquet",
        "tokens",
        tokens,
        settings={},
        inputs={"documents": digest},
        tokenizer="t" * 64,
    )
    rows = [
        row
        | {"category": document["category"]}
        | {name: np.array(row[name]) for name in ("input_ids", "char_deltas", "split_positions")}
        for row, document in zip(tokens, documents, strict=True)
    ]
    windowing = Windowing(window_tokens=window_tokens, policy="stride", bos_token_id=bos_token_id)
    windows = list(windows_of(rows, windowing, "books-00000"))
    write_table(
        folder / "windows.parquet",
        "windows",
        windows,
        settings={"window_tokens": window_tokens, "bos_token_id": bos_token_id},
        inputs={
            "documents": digest,
            "tokens": open_table(folder / "tokens.parquet", "tokens")[1].data_digest,
        },
        tokenizer="t" * 64,
    )
    return windows


def shard_of(folder):
    tables = {name: folder / f"{name}.parquet" for name in ("documents", "tokens")}
    return Shard("00000", folder / "windows.parquet", **tables)


def rows_of(folder, data_ids, weights_of=None):
    return exported_rows(shard_of(folder), data_ids, weights_of)


def test_rows_hold_the_exact_text_the_origin_and_the_tokens(tmp_path):
    windows = write_shard(tmp_path)
    rows = list(rows_of(tmp_path, [window["data_id"] for window in windows]))
    assert [row["data_id"] for row in rows] == [window["data_id"] for window in windows]
    for row, window in zip(rows, windows, strict=True):
        text = TEXTS[row["document_id"]]
        assert row["content"] == text[row["char_start"] : row["char_stop"]]
        assert row["input_ids"].tolist() == [ord(letter) % 997 for letter in row["content"]]
        assert (row["char_start"], row["char_stop"]) == (window["char_start"], window["char_stop"])
        assert (row["title"], row["source"], row["license"], row["category"]) == (
            row["document_id"].upper(),
            "archive.tar",
            "CC0-1.0",
            window["category"],
        )
    # Windows one behind the other give the text back.
    whole = "".join(row["content"] for row in rows if row["document_id"] == "a.txt")
    assert TEXTS["a.txt"].startswith(whole)
    assert len(whole) == len(TEXTS["a.txt"]) // 8 * 8


def test_a_character_that_an_edge_cuts_belongs_to_both_slices(tmp_path):
    windows = write_shard(tmp_path, {"a.txt": "abcdefg🌊hijklmnopq"}, split=(7,))
    first, second = rows_of(tmp_path, [window["data_id"] for window in windows])
    assert (first["content"], second["content"]) == ("abcdefg🌊", "🌊hijklmn")


def test_only_the_wanted_windows_come_in_the_windows_order(tmp_path):
    windows = write_shard(tmp_path)
    ids = [window["data_id"] for window in windows]
    wanted = [ids[7], ids[0], "books-00001_0000001", ids[3]]
    assert [row["data_id"] for row in rows_of(tmp_path, wanted)] == [ids[0], ids[3], ids[7]]
    assert list(rows_of(tmp_path, [])) == []


def test_a_bos_token_is_no_part_of_the_content(tmp_path):
    windows = write_shard(tmp_path, bos_token_id=1)
    row = next(rows_of(tmp_path, [windows[0]["data_id"]]))
    assert len(row["input_ids"]) == 8
    assert row["input_ids"][0] == 1
    assert row["content"] == TEXTS["a.txt"][:7]


def test_tables_that_were_not_made_from_each_other_are_refused(tmp_path):
    write_shard(tmp_path)
    table, _ = read_table(tmp_path / "documents.parquet", "documents")
    write_table(tmp_path / "documents.parquet", "documents", table.slice(1), settings={})
    with pytest.raises(
        ValueError, match=r"windows.parquet was made with another documents file .* assign_windows"
    ):
        next(rows_of(tmp_path, ["books-00000_0000001"]))


# Weights


def test_weights_stand_where_a_trainer_has_its_labels():
    short, long = np.array([3.0, 1.0, 2.0], np.float32), np.array([1.0, 1.0, 2.5], np.float32)
    scores = {"w": {"short_nll": short, "long_nll": long}}
    dense = loss_of_settings({"variant": "dense", "interpolation": 0.75})
    weights = frozen_weights(scores, dense, 0, "w")
    # Dense: |d| with mean 1, a quarter of it and three quarters of plain cross-entropy.
    gain = np.abs(long - short)
    expected = 0.75 + 0.25 * gain / gain.mean()
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [0, *expected], rtol=1e-6)
    # A trainer that shifts its labels weighs the loss of label t by entry t.
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 4, 0, 2])
    nll = torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="none")
    loss = (torch.from_numpy(weights)[1:] * nll).sum() / 3
    assert loss.item() == pytest.approx((expected * nll.numpy()).mean(), rel=1e-6)


def test_the_draw_among_ties_goes_by_seed_and_id():
    scores = {
        name: {"short_nll": np.ones(64, np.float32), "long_nll": np.ones(64, np.float32)} for name in "ab"
    }
    sparse = loss_of_settings({"variant": "sparse", "sparsification": 0.25})
    found = [
        frozen_weights(scores, sparse, seed, name) for seed, name in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    ]
    assert found[0].tolist() == found[1].tolist()
    assert found[0].tolist() != found[2].tolist()
    assert found[0].tolist() != found[3].tolist()
    assert [np.count_nonzero(weights) for weights in found] == [16] * 4


def test_a_control_has_the_same_weights_in_an_order_drawn_by_seed_and_id():
    draw = np.random.default_rng(0)
    nll = {name: draw.uniform(0, 5, 64).astype(np.float32) for name in ("short_nll", "long_nll")}
    scores = {"a": nll, "b": nll}
    dense = frozen_weights(scores, loss_of_settings({"variant": "dense"}), 0, "a")
    control = loss_of_settings({"variant": "dense", "shuffle_weights": True})
    found = [
        frozen_weights(scores, control, seed, name) for seed, name in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    ]
    assert all(weights[0] == 0 and sorted(weights) == sorted(dense) for weights in found)
    assert found[0].tolist() == found[1].tolist()
    assert len({tuple(weights) for weights in [dense, *found]}) == 4


# Writers


def weights_of(data_id):
    draw = np.random.default_rng(list(data_id.encode()))
    return np.append(np.float32(0), draw.uniform(0, 5, 7).astype(np.float32))


def write_export(folder, name, export_format="parquet", *, with_weights=True):
    shard = shard_of(folder)
    manifest = {"settings": {"window_tokens": 8, "bos_token_id": None}, "inputs": shard.inputs}
    manifest |= {"tokenizer": shard.tokenizer, "code_digest": "c"}
    path, manifest_path = folder / name, folder / f"{name}.json"
    with ExportWriter(path, manifest_path, export_format, with_weights=with_weights, **manifest) as writer:
        for row in exported_rows(shard, shard.data_ids, weights_of if with_weights else None):
            writer.append(row)
    return path


def read_lines(path):
    content = path.read_bytes()
    if path.suffix == ".zst":
        content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    return [json.loads(line) for line in content.decode().splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.zst"])
def test_json_lines_and_parquet_hold_the_same(tmp_path, ending):
    write_shard(tmp_path)
    lines = read_lines(write_export(tmp_path, f"x.{ending}"))
    table, manifest = read_table(write_export(tmp_path, "x.parquet"), "exported_windows")
    assert list(lines[0])[:2] == ["content", "data_id"]
    rows = table.to_pylist()
    assert [list(line) for line in lines] == [list(row) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert np.float32(line.pop("loss_weights")).tolist() == row.pop("loss_weights")
        assert line == row
    assert manifest.tokenizer == "t" * 64
    assert table.schema.remove_metadata() == CONTRACTS["exported_windows"].columns


def test_tokens_are_input_ids_and_weights_alone(tmp_path):
    windows = write_shard(tmp_path)
    table = pq.read_table(write_export(tmp_path, "x.parquet", "tokens"))
    assert table.column_names == ["input_ids", "loss_weights"]
    assert table.column("loss_weights")[1].as_py() == weights_of(windows[1]["data_id"]).tolist()
    without = pq.read_table(write_export(tmp_path, "y.parquet", "tokens", with_weights=False))
    assert without.column_names == ["input_ids"]


def test_the_manifest_counts_what_the_card_says(tmp_path):
    windows = write_shard(tmp_path)
    path = write_export(tmp_path, "x.jsonl", with_weights=False)
    manifest = read_export_manifest(tmp_path / "x.jsonl.json")
    counts = {
        category: sum(window["category"] == category for window in windows) for category in ("prose", "verse")
    }
    assert manifest["parts"] == [
        {"category": category, "license": "CC0-1.0", "windows": count, "documents": 1}
        for category, count in counts.items()
    ]
    assert (manifest["windows"], manifest["tokens"]) == (len(windows), 8 * len(windows))
    assert (manifest["sha256"], manifest["size_bytes"]) == (digest_file(path), path.stat().st_size)
    assert manifest["columns"] == list(read_lines(path)[0])
    assert manifest["inputs"] == shard_of(tmp_path).inputs


def test_the_same_export_has_the_same_bytes(tmp_path):
    write_shard(tmp_path)
    for name in ("x.parquet", "x.jsonl", "x.jsonl.zst"):
        before = write_export(tmp_path, name).read_bytes(), (tmp_path / f"{name}.json").read_bytes()
        assert (write_export(tmp_path, name).read_bytes(), (tmp_path / f"{name}.json").read_bytes()) == before


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.jsonl.zst"])
def test_a_broken_export_leaves_nothing_behind(tmp_path, name):
    write_shard(tmp_path)
    shard = shard_of(tmp_path)
    before = sorted(tmp_path.iterdir())

    def broken(data_id):
        if data_id.endswith("3"):
            raise ValueError("no scores")
        return weights_of(data_id)

    manifest = {"settings": {}, "inputs": {}, "tokenizer": None, "code_digest": ""}
    with (
        refused("no scores"),
        ExportWriter(
            tmp_path / name, tmp_path / "m.json", "parquet", with_weights=True, **manifest
        ) as writer,
    ):
        for row in exported_rows(shard, shard.data_ids, broken):
            writer.append(row)
    assert sorted(tmp_path.iterdir()) == before


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_weights_in_json_are_the_same_floats(values, tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    with LineWriter(path) as writer:
        writer.append({"weights": np.array(values, np.float32)}, 1)
    assert np.float32(read_lines(path)[0]["weights"]).tolist() == values


TIMES = ["2021-01-01", "2021-01-01 12:30", "2021-01-01T12:30:00Z", "1999-12-31 23:59:59"]
NO_TIMES = [
    "null",
    "NaN",
    "true",
    "12",
    "",
    "2021",
    "21-01-01",
    "2021-01-01 at noon",
    "2021-W01",
    "1e5",
    "\ufeff",
]


@pytest.mark.parametrize("title", TIMES + NO_TIMES)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_titles_and_types_come_back_whatever_they_look_like(tmp_path, monkeypatch, title, ending):
    """Read by `datasets` with the types that the card's head says."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "x" / "data").mkdir(parents=True)
    write_shard(tmp_path)
    shard = shard_of(tmp_path)
    path = tmp_path / "x" / "data" / f"00000.{ending}"
    manifest = {"settings": {"window_tokens": 8, "bos_token_id": None}, "inputs": {}, "tokenizer": "t" * 64}
    manifest |= {"code_digest": "c"}
    with ExportWriter(path, tmp_path / "m.json", "parquet", with_weights=True, **manifest) as writer:
        for row in exported_rows(shard, shard.data_ids, weights_of):
            writer.append(row | {"title": title, "source": title})
    manifests = [read_export_manifest(tmp_path / "m.json")]
    card = data_card(
        "x",
        location="x",
        data_files=f"data/*.{ending}",
        manifests=manifests,
        sources=[],
        models=[],
        citations=[],
        settings={},
    )
    (tmp_path / "x" / "README.md").write_text(card)
    found = datasets.load_dataset(str(tmp_path / "x"), split="train")
    assert set(found["title"]) == set(found["source"]) == {title}
    types = {name: str(feature) for name, feature in found.features.items()}
    assert types["content"] == types["data_id"] == "Value('string')"
    assert types["title"] == (
        "Json(decode=True)" if title in TIMES and ending == "jsonl" else "Value('string')"
    )
    assert types["input_ids"] == "List(Value('int32'))"
    assert types["loss_weights"] == "List(Value('float32'))"


def test_only_what_a_reader_takes_for_times_is_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(windows_module, "_READ_BYTES", 100)

    def marked(*titles):
        with LineWriter(tmp_path / "x.jsonl") as writer:
            for title in titles:
                writer.append({"title": title, "number": 1}, 1)
        return writer.columns_of_times()

    assert marked("2021-01-01", "Emma") == []
    assert marked("Emma", "2021-01-01") == ["title"]  # the last piece may be this row
    assert marked("Emma", *["2021-01-01"] * 4, "Emma") == ["title"]
    assert marked("Emma", "2021-01-01", "2021-01-01", "Emma", "2021-01-01", "2021-01-01", "Emma") == []
    assert marked("Emma") == marked() == []


def test_a_manifest_that_is_none_is_refused(tmp_path):
    path = tmp_path / "x.json"
    again = f"delete {path} and run the same target again, which reruns export_windows"
    with refused(f"{path} is missing; run the same target again, which runs export_windows"):
        read_export_manifest(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is no manifest of an export \(.*\); " + again):
        read_export_manifest(path)
    path.write_text('{"schema_version": 0}')
    with refused(f"{path} has schema version 0, this longspan reads 1; {again}"):
        read_export_manifest(path)


def test_memory_holds_one_document_and_not_the_shard(tmp_path):
    """Documents of many row groups: only the one at hand is read."""
    texts = {f"{number}.txt": "x" * 300_000 for number in range(6)}
    write_shard(tmp_path, texts, window_tokens=1000)
    shard = shard_of(tmp_path)
    reads = []
    file = shard.documents._file
    shard.documents.read(["document_id"])
    shard.documents._file = SimpleNamespace(
        read=file.read,
        read_row_group=lambda group, **options: reads.append(group) or file.read_row_group(group, **options),
    )
    seen = []
    for row in exported_rows(shard, shard.data_ids):
        seen.append(row["document_id"])
        assert len(reads) == len(set(seen))
    assert reads == list(range(6))
