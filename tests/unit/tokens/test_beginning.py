"""What windows begin with: what the tokenizer itself adds, whatever config.json says."""

import json

import pytest
from tokenizers import Tokenizer, processors

from longspan.models.folders import finish_model, read_manifest
from longspan.tokens.beginning import Beginning, beginning_of
from refusals import refused
from tiny_inputs import make_model

TEXT = "the old house"


@pytest.fixture
def folder(tmp_path):
    """A model whose tokenizer names <s> (1) as its BOS, and adds nothing."""
    make_model(tmp_path / "model", [TEXT * 20])
    return tmp_path / "model"


def add(folder, template):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<pad>", 0), ("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def change(path, **values):
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


@pytest.mark.parametrize(
    ("template", "prefix"),
    [("$A", ()), ("<s> $A", (1,)), ("$A </s>", ()), ("<s> $A </s>", (1,)), ("<pad> <s> $A", (0, 1))],
)
def test_only_what_stands_before_a_text_is_its_beginning(folder, template, prefix):
    add(folder, template)
    assert beginning_of(folder) == Beginning(prefix, 1)
    # What transformers itself does.
    from transformers import AutoTokenizer

    assert tuple(AutoTokenizer.from_pretrained(folder)(TEXT).input_ids[: len(prefix)]) == prefix


def test_settings_beside_the_tokenizer_have_the_last_word(folder):
    add(folder, "<s> $A")
    change(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast", add_bos_token=False)
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(folder)(TEXT).input_ids
    assert beginning_of(folder).prefix_token_ids == ((1,) if own[0] == 1 else ())


def test_a_tokenizer_that_transformers_cannot_load_is_taken_at_its_file(folder):
    add(folder, "<s> $A")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"')
    assert beginning_of(folder) == Beginning((1,), None)


def test_a_tokenizer_that_is_none_is_named(folder):
    (folder / "tokenizer.json").write_text("no JSON")
    with refused(
        "the model's tokenizer.json is none that tokenizers reads (expected ident at line 1 column 2)"
    ):
        beginning_of(folder)


@pytest.mark.parametrize("bos", [1, None, 5])
@pytest.mark.parametrize("nested", [False, True])
def test_the_manifest_names_the_tokenizers_own_token(folder, bos, nested):
    add(folder, "<s> $A")
    change(folder / "config.json", bos_token_id=bos)
    if nested:
        config = json.loads((folder / "config.json").read_text())
        inner = {name: value for name, value in config.items() if name != "bos_token_id"}
        outer = {name: value for name, value in config.items() if name in ("architectures", "bos_token_id")}
        (folder / "config.json").write_text(json.dumps(outer | {"model_type": "x", "text_config": inner}))
        (folder / "tokenizer_config.json").unlink()
    finish_model(folder, source={}, license="l")
    tokenizer = read_manifest(folder / "longspan.json")["tokenizer"]
    assert (tokenizer["bos_token_id"], tokenizer["adds_bos"]) == (1, True)
    assert "prefix_token_ids" not in tokenizer


@pytest.mark.parametrize(("named", "bos", "found"), [("<s>", 5, 1), (None, 5, 5), (None, None, None)])
def test_without_one_that_is_added_the_named_one_counts(folder, named, bos, found):
    change(folder / "tokenizer_config.json", bos_token=named)
    change(folder / "config.json", bos_token_id=bos)
    finish_model(folder, source={}, license="l")
    tokenizer = read_manifest(folder / "longspan.json")["tokenizer"]
    assert (tokenizer["bos_token_id"], tokenizer["adds_bos"]) == (found, False)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_pointers_of_git_in_place_of_a_models_file_are_named(folder, name):
    (folder / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "3f" * 32 + "\nsize 9\n"
    )
    with refused(
        f"the model's {name} is a Git LFS pointer in place of the file; run `git lfs pull` in the folder or "
        "repository of hub o/m"
    ):
        finish_model(folder, source="hub o/m", license="l")
