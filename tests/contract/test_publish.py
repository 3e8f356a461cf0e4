"""publish_export against a stand-in for the hub."""

import json
import os
import subprocess
import sys

import pytest

from longspan_workflow.running.project import SCRIPTS
from tiny_chain import TINY, Chain
from upload_hub import TOKEN, upload_hub

REPO = "me/windows"
SHARDS = ("00000", "00001")
DATA = [f"data/{shard}.jsonl.zst" for shard in SHARDS]


def record(*paths):
    return {".longspan.json": (json.dumps({"files": sorted(paths)}, indent=1) + "\n").encode()}


RECORD = record(*DATA)


@pytest.fixture
def hub():
    with upload_hub() as hub:
        yield hub


@pytest.fixture
def publishing(folder):
    """The tiny chain, whose export is published."""
    exports = {"kept": TINY["exports"]["kept"] | {"repo": REPO}}
    chain = Chain(TINY | {"exports": exports})
    chain.make("write_data_card")
    return chain


def publish(chain, hub, *, token=TOKEN, **environment):
    """Run the script in a Python of its own: the hub's library reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(SCRIPTS.parent)}
    base = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    if token:
        settings["HF_TOKEN"] = token
    command = [sys.executable, str(SCRIPTS / "publish_export.py"), *chain.arguments("publish_export")]
    return subprocess.run(
        command, env=base | settings | environment, capture_output=True, text=True, timeout=120
    )


def local(chain):
    paths = {f"data/{shard}.jsonl.zst": chain.path("data", shard=shard) for shard in SHARDS}
    return {name: path.read_bytes() for name, path in (paths | {"README.md": chain.path("card")}).items()}


def test_the_dataset_holds_the_export_and_the_card_and_is_private(publishing, hub):
    result = publish(publishing, hub)
    assert result.returncode == 0, result.stderr
    dataset = hub.datasets[REPO]
    assert dataset["files"] == local(publishing) | RECORD
    assert dataset["private"] is True
    # The card comes last: a dataset that has one is whole.
    assert dataset["commits"] == [[".longspan.json", *DATA], ["README.md"]]
    assert (
        f"{REPO}: 3 files (data/00000.jsonl.zst, data/00001.jsonl.zst, README.md) to write, no file to delete"
        in result.stdout
    )
    record = json.loads(publishing.path("publication").read_text())
    assert record["repo"] == REPO
    assert record["files"].keys() == {f"data/{shard}.jsonl.zst" for shard in SHARDS}


def test_what_is_there_is_not_sent_again(publishing, hub):
    publish(publishing, hub)
    before = hub.datasets[REPO]["commits"].copy()
    hub.requests.clear()
    result = publish(publishing, hub)
    assert result.returncode == 0, result.stderr
    assert hub.datasets[REPO]["commits"] == before
    assert not [request for request in hub.requests if request.startswith("PUT") or "commit" in request]
    assert "0 files uploaded, 3 are there" in result.stdout


def test_an_upload_that_broke_off_goes_on(publishing, hub):
    hub.breaks_after = 1
    result = publish(publishing, hub)
    assert result.returncode == 1
    # Progress of the upload may stand behind it.
    assert f"publish_export: error: the upload to {REPO} broke off (" in result.stderr
    assert "; run the same target again: what is there stays\n" in result.stderr
    assert "README.md" not in hub.datasets[REPO]["files"]
    assert not publishing.path("publication").exists()
    hub.breaks_after = None
    sent = set(hub.objects)
    hub.requests.clear()
    result = publish(publishing, hub)
    assert result.returncode == 0, result.stderr
    assert hub.datasets[REPO]["files"] == local(publishing) | RECORD
    puts = [request.rpartition("/")[2] for request in hub.requests if request.startswith("PUT")]
    assert len(puts) == 1
    assert not sent & set(puts)


def test_only_what_changed_is_sent_and_what_is_no_more_goes(publishing, hub):
    publish(publishing, hub)
    files = hub.datasets[REPO]["files"]
    files["data/00001.jsonl.zst"] = b"older"
    files["data/00002.jsonl.zst"] = b"of a shard that is gone"
    files |= record(*DATA, "data/00002.jsonl.zst")
    # Somebody's own, beside the export's files too.
    own = {"notes.md": b"notes", "data/more.jsonl.zst": b"more"}
    files |= own
    hub.datasets[REPO]["commits"].clear()
    result = publish(publishing, hub)
    assert result.returncode == 0, result.stderr
    assert files == local(publishing) | RECORD | own
    assert hub.datasets[REPO]["commits"] == [
        [".longspan.json", "data/00001.jsonl.zst"],
        ["data/00002.jsonl.zst", ".longspan.json"],
    ]
    said = "1 file (data/00001.jsonl.zst) to write, 1 file (data/00002.jsonl.zst) to delete"
    assert f"{REPO}: {said}" in result.stdout


def test_a_dataset_that_longspan_did_not_write_is_refused_and_left(publishing, hub):
    theirs = {f"data/{name}.parquet": name.encode() for name in "abcd"} | {".gitattributes": b"lfs"}
    hub.datasets[REPO] = {"private": True, "files": dict(theirs), "commits": []}
    result = publish(publishing, hub)
    assert result.returncode == 1
    assert result.stderr == (
        f"publish_export: error: the dataset {REPO} holds 4 files (data/a.parquet, data/b.parquet, "
        "data/c.parquet, …) and no .longspan.json, so that longspan did not write it, and 3 files "
        "(data/00000.jsonl.zst, data/00001.jsonl.zst, README.md) would be written there; name another repo, "
        'empty this one, or put a .longspan.json with {"files": []} there to have these files written beside '
        "the others\n"
    )
    assert hub.datasets[REPO] == {"private": True, "files": theirs, "commits": []}
    # Its owner may say so.
    hub.datasets[REPO]["files"] |= record()
    result = publish(publishing, hub)
    assert result.returncode == 0, result.stderr
    assert hub.datasets[REPO]["files"] == theirs | local(publishing) | RECORD


def test_a_dataset_with_the_hubs_own_file_alone_is_empty(publishing, hub):
    hub.datasets[REPO] = {"private": True, "files": {".gitattributes": b"lfs"}, "commits": []}
    assert publish(publishing, hub).returncode == 0
    assert hub.datasets[REPO]["files"].keys() == {".gitattributes", ".longspan.json", *DATA, "README.md"}


def test_a_record_that_cannot_be_read_is_refused(publishing, hub):
    files = {".longspan.json": b"[]", "data/a.parquet": b"a"}
    hub.datasets[REPO] = {"private": True, "files": dict(files), "commits": []}
    result = publish(publishing, hub)
    message = f"publish_export: error: the record .longspan.json of the dataset {REPO} cannot be read ("
    assert result.stderr.startswith(message)
    assert hub.datasets[REPO]["files"] == files


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN[:9]}\r{TOKEN[9:]}"])
def test_a_token_that_cannot_be_sent_is_refused_without_its_value(publishing, hub, token):
    result = publish(publishing, hub, token=token)
    assert result.stderr.startswith("publish_export: error: HF_TOKEN holds a line end, a space or another ")
    assert TOKEN[:9] not in result.stdout + result.stderr
    assert not hub.requests


def test_the_token_is_never_shown(publishing, hub):
    hub.breaks_after = 1
    results = [publish(publishing, hub), publish(publishing, hub, token=f"{TOKEN}x")]
    hub.breaks_after = None
    results.append(publish(publishing, hub, HF_DEBUG="1"))
    assert [result.returncode for result in results] == [1, 1, 0]
    for result in results:
        assert TOKEN not in result.stdout + result.stderr
    assert TOKEN not in publishing.path("publication").read_text()


def test_the_token_may_have_the_older_name_and_the_newer_one_counts(publishing, hub):
    result = publish(publishing, hub, token=None, HUGGING_FACE_HUB_TOKEN=TOKEN)
    assert result.returncode == 0, result.stderr
    result = publish(publishing, hub, token=f"{TOKEN}x", HUGGING_FACE_HUB_TOKEN=TOKEN)
    assert result.returncode == 1


def test_without_a_token_nothing_is_asked(publishing, hub):
    result = publish(publishing, hub, token=None)
    assert result.stderr == (
        f"publish_export: error: HF_TOKEN is not set; set it to a token that may write to {REPO}\n"
    )
    assert not hub.requests


def test_offline_is_said(publishing, hub):
    result = publish(publishing, hub, HF_HUB_OFFLINE="1")
    assert result.stderr == (
        f"publish_export: error: HF_HUB_OFFLINE is set, so nothing can be uploaded to {REPO}; unset it\n"
    )


def test_a_public_dataset_is_not_filled_with_what_shall_be_private(publishing, hub):
    hub.datasets[REPO] = {"private": False, "files": {}, "commits": []}
    result = publish(publishing, hub)
    assert result.stderr == (
        f"publish_export: error: the dataset {REPO} is there and public; "
        "set private: false for the export, or name another repo\n"
    )
    assert hub.datasets[REPO]["files"] == {}


def test_a_file_that_is_not_the_exported_one_is_not_published(publishing, hub):
    path = publishing.path("data", shard="00001")
    path.write_bytes(path.read_bytes()[:-1])
    result = publish(publishing, hub)
    assert result.stderr == (
        f"publish_export: error: {path} is not what {publishing.path('manifest', shard='00001')} says; "
        "delete both and run the same target again, which reruns export_windows\n"
    )
    assert not hub.requests
