"""pin_revisions, download_texts and download_model, from a hub on this machine."""

import copy
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local_hub import COMMIT, TOKEN, local_hub
from longspan.models.folders import read_manifest
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import TINY, Chain

REVISIONS = Path("downloads/revisions.json")
ARCHIVE = Path("downloads/texts/o--books-train.parquet")
DATASET = {"kind": "hub", "dataset": "o/books", "split": "train"}
README = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
- config_name: poems
  data_files:
  - {split: train, path: poems/*}
- config_name: bare
  data_files:
  - {split: train, path: bare/*}
---
"""


def parquet(texts):
    """A file of these texts, in one row group; in none if there are none at all."""
    content = io.BytesIO()
    schema = pa.schema({"text": pa.string()})
    with pq.ParquetWriter(content, schema) as writer:
        if texts is not None:
            writer.write_table(pa.table({"text": texts}, schema))
    return content.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with local_hub() as hub:
        hub.repositories["datasets/o/books"] = {
            "README.md": README.encode(),
            "data/train-00000-of-00002.parquet": parquet(["one", "two"]),
            "data/train-00001-of-00002.parquet": parquet(["three"]),
            "bare/none.parquet": parquet([]),
            "poems/all.parquet": parquet(["a rose"]),
        }
        yield hub


def run(hub, script, arguments, **environment):
    """Run a script in a process of its own: the hub's clients read their environment when they start."""
    names = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(Path("hf").absolute()), "HF_HUB_DISABLE_XET": "1"}
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, SCRIPTS / f"{script}.py", *map(str, arguments)],
        env=known | names | {"PYTHONPATH": str(SCRIPTS.parent)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def pin(hub, *repositories, **environment):
    settings = json.dumps({"repositories": repositories or [["dataset", "o/books", "main"]]})
    return run(hub, "pin_revisions", ["--settings", settings, "--revisions", REVISIONS], **environment)


def download(hub, archive=ARCHIVE, settings=DATASET, **environment):
    arguments = ["--settings", json.dumps(settings), "--archive", archive, "--revisions", REVISIONS]
    return run(hub, "download_texts", arguments, **environment)


def error_of(result, script):
    assert result.returncode == 1, result.stdout
    return result.stderr.splitlines()[-1].removeprefix(f"{script}: error: ")


def test_a_branch_keeps_the_commit_that_it_was_at_first(hub):
    result = pin(hub)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"dataset o/books main is commit {COMMIT}\n"
    before = REVISIONS.read_bytes()
    hub.branches["datasets/o/books", "main"] = "a" * 40
    assert pin(hub).stdout == ""
    assert REVISIONS.read_bytes() == before
    REVISIONS.unlink()
    assert pin(hub).stdout == f"dataset o/books main is commit {'a' * 40}\n"


def test_a_split_is_fetched_at_its_commit_alone(hub):
    pin(hub)
    hub.branches["datasets/o/books", "main"] = "a" * 40
    result = download(hub)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{ARCHIVE}: 3 rows of o/books at commit {COMMIT}\n"
    assert pq.read_table(ARCHIVE).column("text").to_pylist() == ["one", "two", "three"]
    assert not [path for path in hub.asked if "resolve" in path and COMMIT not in path]
    assert not [path for path in hub.asked if "GET" in path and "poems/" in path]
    poems = ARCHIVE.with_name("poems.parquet")
    assert download(hub, poems, DATASET | {"config": "poems"}).returncode == 0
    assert pq.read_table(poems).column("text").to_pylist() == ["a rose"]


def test_what_was_fetched_serves_without_a_network(hub):
    pin(hub)
    download(hub)
    content = ARCHIVE.read_bytes()
    ARCHIVE.unlink()
    REVISIONS.unlink()
    asked = len(hub.asked)
    assert pin(hub, ["dataset", "o/books", COMMIT], HF_HUB_OFFLINE="1").returncode == 0
    REVISIONS.write_text(REVISIONS.read_text().replace(f"books {COMMIT}", "books main"))
    result = download(hub, HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert ARCHIVE.read_bytes() == content
    assert len(hub.asked) == asked
    # Another commit than the one that the cache holds is not taken for it.
    REVISIONS.write_text(REVISIONS.read_text().replace(COMMIT, "b" * 40))
    message = error_of(download(hub, HF_HUB_OFFLINE="1"), "download_texts")
    assert message.startswith(f"the cache holds the dataset o/books, but not at commit {'b' * 40}, and")


def test_without_a_network_it_is_said_what_to_fetch_where(hub):
    message = error_of(pin(hub, HF_HUB_OFFLINE="1"), "pin_revisions")
    assert message.startswith(
        "the dataset o/books (main) is not on this machine, and the hub cannot be reached"
    )
    assert "run 'snakemake download', or 'hf download o/books --repo-type dataset --revision main'" in message
    assert message.endswith(f"and copy the downloads folder and {Path('hf').absolute()} here")
    # Nobody listens on port 9.
    message = error_of(pin(hub, ["model", "o/m", "main"], HF_ENDPOINT="http://127.0.0.1:9"), "pin_revisions")
    assert message.startswith("the model o/m (main) is not on this machine, and the hub cannot be reached")
    assert not REVISIONS.exists()


def test_a_gated_repository_names_its_page_and_the_token(hub):
    hub.gated.add("datasets/o/books")
    page = f"{hub.endpoint}/datasets/o/books"
    for token in ({}, {"HF_TOKEN": "hf_of_someone_else"}):
        message = error_of(pin(hub, **token), "pin_revisions")
        assert message == (
            f"the dataset o/books is gated: accept its terms at {page}, and set HF_TOKEN to a token of "
            "that account"
        )
    assert pin(hub, HF_TOKEN=TOKEN).returncode == 0
    assert download(hub, HF_TOKEN=TOKEN).returncode == 0


def test_names_that_the_hub_does_not_know_are_refused(hub):
    message = error_of(pin(hub, ["model", "o/none", "main"]), "pin_revisions")
    assert message.startswith(
        "there is no model o/none on the hub, or it is private; correct the name, or set"
    )
    message = error_of(pin(hub, ["dataset", "o/books", "v9"]), "pin_revisions")
    assert message == (
        "the dataset o/books has no revision 'v9'; its commits are listed at "
        f"{hub.endpoint}/datasets/o/books/commits/main"
    )


def test_an_empty_split_is_refused(hub):
    pin(hub)
    for texts in ([], None):
        hub.repositories["datasets/o/books"]["bare/none.parquet"] = parquet(texts)
        result = download(hub, settings=DATASET | {"config": "bare"}, HF_HOME=f"hf_{texts}")
        assert error_of(result, "download_texts") == (
            "a file of the split 'train' of the dataset o/books holds no rows; correct the source's config, "
            "split or revision"
        )
    assert not ARCHIVE.exists()
    message = error_of(download(hub, settings=DATASET | {"split": "trian"}), "download_texts")
    assert "trian" in message


def test_a_damaged_file_of_a_dataset_is_refused(hub):
    hub.repositories["datasets/o/books"]["poems/all.parquet"] = b"PAR1 no table PAR1"
    pin(hub)
    message = error_of(download(hub, settings=DATASET | {"config": "poems"}), "download_texts")
    assert message.startswith("a file of the dataset o/books cannot be read (")


def test_the_rules_pin_and_fetch_what_the_settings_name(hub, finished):
    """By their own commands: texts and a model at the commits that were pinned."""
    files = {path.name: path.read_bytes() for path in (finished / "inputs/model").iterdir()}
    hub.repositories["models/o/tiny"] = files
    chain = Chain(hub_settings())
    assert run(hub, "pin_revisions", chain.arguments("pin_revisions")).returncode == 0
    pinned = json.loads(REVISIONS.read_text())
    assert pinned == {"dataset o/books main": COMMIT, "model o/tiny main": COMMIT}
    hub.branches["datasets/o/books", "main"] = hub.branches["models/o/tiny", "main"] = "a" * 40
    for script, names in ("download_texts", {"archive": ARCHIVE.name}), ("download_model", {}):
        result = run(hub, script, chain.arguments(script, **names))
        assert result.returncode == 0, result.stderr
    assert pq.read_table(ARCHIVE).column("text").to_pylist() == ["one", "two", "three"]
    assert read_manifest(chain.path("model"))["source"]["commit"] == COMMIT
    assert not [path for path in hub.asked if "resolve" in path and COMMIT not in path]


def hub_settings():
    """The tiny run with a model and texts of the hub."""
    settings = copy.deepcopy(TINY)
    settings["models"]["tiny"]["source"] = {"kind": "hub", "repo": "o/tiny", "revision": "main"}
    settings["corpora"]["short"]["sources"].append(DATASET | {"category": "prose", "license": "MIT"})
    return settings


def test_a_model_is_fetched_at_its_commit(hub, finished):
    files = {path.name: path.read_bytes() for path in (finished / "inputs/model").iterdir()}
    hub.repositories["models/o/tiny"] = files | {"pytorch_model.bin": b"not asked for"}
    assert pin(hub, ["model", "o/tiny", "main"]).returncode == 0
    settings = hub_settings()
    chain, manifest = Chain(settings), Path("results/models/tiny/longspan.json")
    arguments = chain.arguments("download_model")
    result = run(hub, "download_model", arguments)
    assert result.returncode == 0, result.stderr
    assert read_manifest(manifest)["source"] == settings["models"]["tiny"]["source"] | {"commit": COMMIT}
    assert not [path for path in hub.asked if "pytorch_model" in path]
    # Again, without a network, from the cache.
    manifest.unlink()
    assert run(hub, "download_model", arguments, HF_HUB_OFFLINE="1").returncode == 0
    hub_home = {"HF_HOME": str(Path("other").absolute()), "HF_HUB_OFFLINE": "1"}
    message = error_of(run(hub, "download_model", arguments, **hub_home), "download_model")
    assert message.startswith(f"the model o/tiny ({COMMIT}) is not on this machine, and the hub cannot be")


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_se\rcret", "hf_\x1bsecret", "hf_sécret", "hf secret"])
def test_a_token_that_cannot_be_sent_is_refused_without_its_value(hub, token):
    pin(hub)
    source = {"kind": "hub", "repo": "o/tiny", "revision": COMMIT}
    settings = {"source": source, "license": "MIT", "max_position_embeddings": 512, "first_layer_only": False}
    settings = json.dumps(settings)
    REVISIONS.write_text(json.dumps({f"model o/tiny {COMMIT}": COMMIT} | json.loads(REVISIONS.read_text())))
    arguments = ["--settings", settings, "--archives", "downloads", "--manifest", "m/longspan.json"]
    arguments += ["--revisions", REVISIONS]
    asked = len(hub.asked)
    for script, result in (
        ("pin_revisions", pin(hub, ["dataset", "o/books", "other"], HF_TOKEN=token)),
        ("download_texts", download(hub, HF_TOKEN=token)),
        ("download_model", run(hub, "download_model", arguments, HF_TOKEN=token)),
    ):
        assert error_of(result, script).startswith("HF_TOKEN holds a line end, a space or another character")
        assert "cret" not in result.stdout + result.stderr
    assert len(hub.asked) == asked
