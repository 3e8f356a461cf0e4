"""The example of docs/texts.md: from three sources to a dataset, over small inputs and a local hub."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
import zstandard

from local_hub import COMMIT, local_hub

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/texts.md").read_text().split("## An example")[1].split("## Sources")[0]
BLOCKS = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1])
COMMANDS = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL)[1].splitlines()
LOADING = re.search(r"`(load_dataset\(.*?\))`", SECTION)[1]


def text(number, words=400):
    return " ".join(f"the river and house number {number} of {word}" for word in range(words // 7))


def write_inputs(folder, hub):
    (folder / "texts/deep").mkdir(parents=True)
    (folder / "texts/a.txt.gz").write_bytes(gzip.compress(text("café 🌊").encode()))
    (folder / "texts/deep/b.txt.gz").write_bytes(gzip.compress(text("two").encode()))
    (folder / "texts/cut.txt.gz").write_bytes(gzip.compress(text("cut").encode())[:-9])
    (folder / "pages").mkdir()
    rows = [{"content": text(number), "data_id": f"page_{number}"} for number in range(3)]
    rows.append({"content": text("two"), "data_id": "copy"})
    lines = "".join(json.dumps(row) + "\n" for row in rows) + '{"content": "cut sho'
    (folder / "pages/p.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    content = io.BytesIO()
    books = [{"text": text(f"book {number}"), "short_book_title": f"Book {number}"} for number in range(30)]
    pq.write_table(pa.Table.from_pylist(books), content)
    files = [{"split": "validation", "path": "v.parquet"}]
    card = f"---\n{yaml.safe_dump({'configs': [{'config_name': 'default', 'data_files': files}]})}---\n"
    hub.repositories["datasets/emozilla/pg19"] = {"README.md": card.encode(), "v.parquet": content.getvalue()}


def settings_of(workflow):
    """The example's blocks beside those of the tiny run, with its tokenizer and small windows."""
    settings = yaml.safe_load(workflow.configfile.read_text())
    for kind, blocks in BLOCKS.items():
        settings[kind] = settings.get(kind, {}) | blocks
    settings["windowings"]["mine-2k"] |= {"tokenizer": "tiny", "window_tokens": 128}
    return settings


def test_three_sources_become_a_dataset(workflow):
    folder = workflow.folder
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings_of(workflow)))
    with local_hub() as hub:
        write_inputs(folder, hub)
        cache = {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.endpoint}
        online, offline = (dict(os.environ) | cache | {"HF_HUB_OFFLINE": flag} for flag in ("0", "1"))
        for command, environment in zip(COMMANDS, (online, offline), strict=True):
            program, *arguments = command.split()
            assert program == "snakemake"
            files = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--cores", "2"]
            result = subprocess.run(
                [sys.executable, "-m", "snakemake", *files, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                cwd=folder,
            )
            assert result.returncode == 0, result.stdout[-6000:]
    card = (folder / "results/exports/mine/README.md").read_text()
    assert f"| hub emozilla/pg19, validation (commit {COMMIT}) | books | Apache-2.0 |" in card
    book = pq.read_table(
        folder / "results/exports/mine/data", filters=[("category", "=", "books")]
    ).to_pylist()[0]
    for name in (book["data_id"], book["document_id"]):
        result = subprocess.run(
            [sys.executable, "-m", "longspan_workflow", "explain", name, "--configfile", "mine.yaml"],
            env=offline | {"PYTHONPATH": str(ROOT / "workflow")},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        made_by = yaml.safe_load(result.stdout)["windowings"]["mine-2k"]["made_by"]
        assert made_by["source"]["hub"] == {"dataset": "emozilla/pg19", "commit": COMMIT}
    dropped = [
        row
        for shard in ("00000", "00001")
        for row in pq.read_table(folder / f"results/corpora/mine/dropped/{shard}.parquet").to_pylist()
    ]
    assert {row["document_id"]: row["reason"] for row in dropped} == {
        "texts/cut.txt.gz": "bad file",
        "copy": "duplicate",
        "pages/p.jsonl.zst#0000004": "bad JSON",
    }
    program = (
        f"from datasets import load_dataset\nkept = {LOADING}\nimport json\n"
        "print(json.dumps([[row['document_id'], row['category'], row['content']] for row in kept]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=offline, cwd=folder, capture_output=True, text=True, timeout=120
    )
    rows = json.loads(result.stdout.splitlines()[-1])
    documents = {document: category for document, category, _ in rows}
    assert sum(category == "books" for category in documents.values()) == 20
    assert {document for document, category in documents.items() if category == "web"} == {
        "page_0",
        "page_1",
        "page_2",
    }
    assert {document for document, category in documents.items() if category == "essays"} == {
        "texts/a.txt.gz",
        "texts/deep/b.txt.gz",
    }
    assert all(content in text("café 🌊") for document, _, content in rows if document == "texts/a.txt.gz")
