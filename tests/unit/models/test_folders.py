import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from longspan.models.folders import copy_tokenizer, empty_folder, finish_model, read_manifest
from longspan.models.loading import load_model, pick_device
from longspan.tokens.tokenization import tokenizer_identity
from refusals import refused
from tiny_inputs import make_model

SOURCE = {"kind": "folder", "path": "x"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_model(folder, ["the old house by the river"])
    finish_model(folder, source=SOURCE, license="MIT", max_position_embeddings=512)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original, tmp_path / "model")
    return tmp_path / "model"


def again(folder):
    return f"delete {folder / 'longspan.json'} and run the same target again, which makes the model anew"


def test_a_manifest_identifies_the_models_files(folder):
    manifest = read_manifest(folder / "longspan.json")
    assert (manifest["source"], manifest["license"]) == (SOURCE, "MIT")
    # What else lies in the folder is no part of the model.
    assert sorted(manifest["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert manifest["tokenizer"] == {
        "identity": tokenizer_identity(folder),
        "bos_token_id": 1,
        "adds_bos": False,
    }
    digest = manifest["digest"]
    # The same files from elsewhere, under another licence, are the same model.
    finish_model(folder, source={"kind": "hub"}, license="other")
    assert read_manifest(folder / "longspan.json")["digest"] == digest
    (folder / "README.md").write_text("read me")
    finish_model(folder, source=SOURCE, license="MIT")
    assert read_manifest(folder / "longspan.json")["digest"] == digest
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-4}))
    finish_model(folder, source=SOURCE, license="MIT")
    assert read_manifest(folder / "longspan.json")["digest"] != digest


def shard(folder):
    """Part the weights into a file with embedding and layer 0, and another with the rest."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {
        name: "first.safetensors" if "embed" in name or "layers.0." in name else "rest.safetensors"
        for name in tensors
    }
    for file in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_the_first_layers_files_are_enough_for_a_model_that_only_gives_attention(folder):
    shard(folder)
    finish_model(folder, source=SOURCE, license="MIT")
    whole = read_manifest(folder / "longspan.json")
    assert {"first.safetensors", "rest.safetensors"} <= whole["files"].keys()
    (folder / "rest.safetensors").unlink()
    missing = f"the model's rest.safetensors is missing; complete the folder or repository of {SOURCE}"
    with refused(missing):
        finish_model(folder, source=SOURCE, license="MIT")
    finish_model(folder, source=SOURCE, license="MIT", first_layer_only=True)
    first = read_manifest(folder / "longspan.json")
    # The same attention scores, whether the rest is there or not.
    assert first["first_layer_digest"] == whole["first_layer_digest"]
    assert first["digest"] != whole["digest"]
    (folder / "first.safetensors").unlink()
    with refused(missing.replace("rest", "first")):
        finish_model(folder, source=SOURCE, license="MIT", first_layer_only=True)


def test_a_change_behind_the_first_layer_leaves_its_digest(folder):
    def digests():
        finish_model(folder, source=SOURCE, license="MIT")
        manifest = read_manifest(folder / "longspan.json")
        return manifest["digest"], manifest["first_layer_digest"]

    shard(folder)
    before = digests()
    for file, leaves in ("rest.safetensors", True), ("first.safetensors", False):
        tensors = load_file(folder / file)
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / file)
        after = digests()
        assert after[0] != before[0]
        assert (after[1] == before[1]) == leaves


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_config_or_weights_is_refused(folder, name):
    (folder / name).unlink()
    (folder / "longspan.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"weights of another form")
    with refused(f"the model's {name} is missing; complete the folder or repository of {SOURCE}"):
        finish_model(folder, source=SOURCE, license="MIT")
    assert not (folder / "longspan.json").exists()


def test_a_tokenizer_that_adds_bos_is_known(folder):
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    finish_model(folder, source=SOURCE, license="MIT")
    assert read_manifest(folder / "longspan.json")["tokenizer"]["adds_bos"]


def test_a_missing_manifest_is_refused(tmp_path):
    path = tmp_path / "longspan.json"
    with refused(f"{path} is missing; run the same target again, which makes the model"):
        read_manifest(path)


@pytest.mark.parametrize("content", ["", '{"schema_version": 1, "fi', "\xff"])
def test_a_manifest_that_is_cut_short_is_refused(folder, content):
    path = folder / "longspan.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="is no manifest of a model") as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path} is no manifest of a model (")
    assert str(caught.value).endswith(f"); {again(folder)}")


def test_an_older_manifest_is_refused_naming_both_versions(folder):
    path = folder / "longspan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 0}))
    with refused(f"{path} has schema version 0, this longspan reads 1; {again(folder)}"):
        read_manifest(path)


def test_a_missing_or_truncated_file_is_refused(folder):
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-7])
    with refused(f"{weights} has {size - 7} bytes instead of {size}; {again(folder)}"):
        read_manifest(folder / "longspan.json")
    weights.unlink()
    with refused(f"{weights} is missing; {again(folder)}"):
        read_manifest(folder / "longspan.json")


def test_other_positions_than_declared_are_refused(folder):
    with refused(
        "the model's config.json says max_position_embeddings 512, the settings say 8192; "
        "correct the settings"
    ):
        finish_model(folder, source=SOURCE, license="MIT", max_position_embeddings=8192)


def test_a_folder_is_emptied_of_what_was_there(folder):
    empty_folder(folder)
    assert list(folder.iterdir()) == []
    empty_folder(folder / "new")
    assert list((folder / "new").iterdir()) == []


def test_a_copied_tokenizer_loads_on_its_own(folder, tmp_path):
    from transformers import AutoTokenizer

    (tmp_path / "copy").mkdir()
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    copy_tokenizer(folder, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    text = "the old river"
    assert AutoTokenizer.from_pretrained(tmp_path / "copy")(text) == AutoTokenizer.from_pretrained(folder)(
        text
    )


def test_a_model_is_loaded_as_asked(folder):
    settings = {"dtype": "bfloat16", "attention": "eager", "rope_theta": 5e5, "device": "cpu"}
    model = load_model(folder, **settings)
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"
    ids = torch.arange(30)[None]
    plain = load_model(folder, dtype="float32", attention="sdpa", rope_theta=None, device="cpu")
    assert plain(ids).logits.equal(AutoModelForCausalLM.from_pretrained(folder)(ids).logits)
    turned = load_model(folder, dtype="float32", attention="sdpa", rope_theta=5e5, device="cpu")
    difference = (turned(ids).logits - plain(ids).logits).abs()[0].amax(1)
    assert difference[0] == 0  # position 0 is not rotated
    assert difference[-1] > 0.01


def test_the_device_is_a_gpu_where_there_is_one():
    assert pick_device() == ("cuda" if torch.cuda.is_available() else "cpu")
