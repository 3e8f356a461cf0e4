"""export_windows and write_data_card: what others read."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from longspan.exports.windows import read_export_manifest
from longspan.store.tables import open_table, read_table
from longspan.weighting.weights import token_weights
from tiny_chain import TINY, Chain

SHARDS = ("00000", "00001")


def chain_with(**export):
    """The tiny chain with another export of the same name."""
    settings = copy.deepcopy(TINY)
    settings["exports"]["kept"] = {key: value for key, value in export.items() if value is not None}
    return Chain(settings)


def export(chain):
    for shard in SHARDS:
        chain.make("export_windows", shard=shard)
    chain.make("write_data_card")
    return chain.path("card").parent


def kept_ids(chain):
    rows = read_table(chain.path("selection"), "selection")[0].to_pylist()
    return {row["data_id"] for row in rows if row["kept"]}


def load(folder, home):
    """What `load_dataset` gives, in a Python of its own whose caches are in `home`."""
    program = (
        "import json, sys\n"
        "from datasets import load_dataset\n"
        "windows = load_dataset(sys.argv[1], split='train')\n"
        "print(json.dumps(windows.to_list()))"
    )
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("export_format", ["parquet", "jsonl", "jsonl.zst", "tokens"])
def test_every_format_loads_in_two_lines_with_the_kept_windows(chain, tmp_path, export_format):
    chain = chain_with(selection="half", loss="dense", format=export_format)
    rows = load(export(chain), tmp_path)
    assert len(rows) == len(kept_ids(chain)) == 8
    for row in rows:
        assert len(row["input_ids"]) == len(row["loss_weights"]) == 128
        assert row["loss_weights"][0] == 0
    if export_format == "tokens":
        assert all(list(row) == ["input_ids", "loss_weights"] for row in rows)
    else:
        assert {row["data_id"] for row in rows} == kept_ids(chain)


def test_content_is_the_slice_of_the_raw_file(chain):
    export(chain_with(selection="half", format="parquet"))
    found = [
        row
        for shard in SHARDS
        for row in pq.read_table(f"results/exports/kept/data/{shard}.parquet").to_pylist()
    ]
    assert {row["category"] for row in found} == {"prose", "rows"}
    for row in found:
        assert row["license"] == "CC0-1.0"
        if row["category"] == "prose":
            text = Path(row["source"]).read_text()
            assert row["content"] == text[row["char_start"] : row["char_stop"]]
            assert row["title"] == Path(row["source"]).stem


def test_weights_are_those_of_the_loss_over_the_stored_scores(chain):
    chain = chain_with(selection="half", loss="dense", format="parquet")
    export(chain)
    for shard in SHARDS:
        scores = {
            row["data_id"]: row
            for row in read_table(chain.path("scores", shard=shard), "nll_scores")[0].to_pylist()
        }
        for row in read_table(chain.path("data", shard=shard, ending="parquet"), "exported_windows")[
            0
        ].to_pylist():
            nll = {name: torch.tensor([scores[row["data_id"]][name]]) for name in ("long_nll", "short_nll")}
            expected = token_weights(**nll, transforms=("absolute",), normalization="L1", interpolation=0.75)
            np.testing.assert_allclose(row["loss_weights"][1:], expected[0], rtol=1e-6)


def test_without_a_selection_all_windows_come_and_without_a_loss_no_weights(chain):
    chain = chain_with(windowing="short-128", format="parquet")
    export(chain)
    for shard in SHARDS:
        table, manifest = read_table(chain.path("data", shard=shard, ending="parquet"), "exported_windows")
        windows, origin = read_table(chain.path("windows", shard=shard), "windows")
        assert table.column("data_id").to_pylist() == windows.column("data_id").to_pylist()
        assert "loss_weights" not in table.column_names
        assert manifest.inputs["windows"] == origin.data_digest
        assert manifest.inputs.keys() == {"documents", "tokens", "windows"}


def test_the_manifests_of_file_and_shard_name_what_went_in(chain):
    chain = chain_with(selection="half", loss="dense", format="parquet")
    export(chain)
    manifest = open_table(chain.path("data", ending="parquet"), "exported_windows")[1]
    beside = read_export_manifest(chain.path("manifest", ending="parquet"))
    assert beside["inputs"] == manifest.inputs
    assert manifest.inputs["scores"] == open_table(chain.path("scores"), "nll_scores")[1].data_digest
    assert manifest.settings["loss"] == beside["settings"]["loss"] == {"variant": "dense"}
    assert beside["windows"] == manifest.rows


def test_a_changed_selection_exports_other_windows_and_only_those_shards_change(chain):
    export(chain)
    before = {shard: chain.path("data", shard=shard).read_bytes() for shard in SHARDS}
    export(chain)
    assert {shard: chain.path("data", shard=shard).read_bytes() for shard in SHARDS} == before
    settings = copy.deepcopy(TINY)
    settings["selections"]["half"]["keep"] = {"windows": 1}
    few = Chain(settings)
    few.make("select_windows")
    few.make("list_kept_windows")
    export(few)
    rows = [read_export_manifest(few.path("manifest", shard=shard))["windows"] for shard in SHARDS]
    assert sum(rows) == 1


def test_a_shard_without_a_kept_window_is_empty_and_loads(chain, tmp_path):
    settings = copy.deepcopy(TINY)
    settings["selections"]["half"]["keep"] = {"windows": 1}
    for export_format in ("parquet", "jsonl.zst"):
        settings["exports"]["kept"]["format"] = export_format
        few = Chain(settings)
        few.make("select_windows")
        few.make("list_kept_windows")
        assert len(load(export(few), tmp_path / export_format)) == 1


def test_the_card_says_where_everything_came_from(chain):
    chain = chain_with(selection="half", loss="dense", format="jsonl.zst")
    folder = export(chain)
    card = (folder / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["configs"] == [{"config_name": "default", "data_files": "data/*.jsonl.zst"}]
    assert "8 windows of 128 tokens (1,024 tokens) of 5 documents" in body
    assert "| inputs/prose/\\*.txt | prose | CC0-1.0 |" in body
    assert "| prose | CC0-1.0 | 3 | 4 | 512 |" in body
    assert "| tokenizer, scorer tiny-layer0, scorer tiny-32 | tiny | inputs/model | Apache-2.0 |" in body
    assert "2502.16860" in body
    assert "2503.09202" in body
    assert "2510.25804" not in body
    settings = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    used = json.loads(*chain.options("record_settings")["--settings"])
    assert settings["selections"] == {"half": used["selections"]["half"]}
    assert settings["corpora"] == used["corpora"]
    assert settings["exports"] == used["exports"]
    assert settings["seed"] == used["seed"]
    assert set(settings["scorers"]) == {"tiny-32", "tiny-layer0"}
    assert "runs" not in settings


def test_a_card_over_shards_of_other_settings_is_refused(chain):
    path = chain.path("manifest", shard="00001")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"tokenizer": "other"}))
    result = chain.run("write_data_card")
    assert result.code == 1
    assert result.stderr == (
        "write_data_card: error: the shards of kept were exported with different tokenizer; "
        "run the same target again\n"
    )


def test_no_absolute_path_leaves_in_an_export(chain, tmp_path):
    settings = copy.deepcopy(TINY)
    root = str(Path.cwd())
    for source in settings["corpora"]["short"]["sources"]:
        source["paths"] = [f"{root}/{path}" for path in source["paths"]]
    settings["models"]["tiny"]["source"]["path"] = f"{root}/inputs/model"
    settings["exports"]["kept"] = {"windowing": "short-128", "format": "jsonl"}
    own = Chain(settings)
    own.make_windows()
    folder = export(own)
    data = "".join(path.read_text() for path in sorted(folder.glob("data/*.jsonl")))
    rows = [json.loads(line) for line in data.splitlines()]
    assert root not in data + (folder / "README.md").read_text()
    assert {row["source"] for row in rows if row["category"] == "rows"} == {"rows.jsonl"}
    prose = {row["source"]: row for row in rows if row["category"] == "prose"}
    assert set(prose) <= {f"prose_{number}.txt" for number in range(9)}
    for row in prose.values():
        text = Path("inputs/prose", row["source"]).read_text()
        assert row["content"] == text[row["char_start"] : row["char_stop"]]
        assert row["document_id"].startswith(f"{row['source']}@")
    # As many documents as there are.
    internal = {
        row["document_id"]
        for shard in SHARDS
        for row in read_table(own.path("windows", shard=shard), "windows")[0].to_pylist()
    }
    assert len({row["document_id"] for row in rows}) == len(internal)
