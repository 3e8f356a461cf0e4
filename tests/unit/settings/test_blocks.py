import copy
from typing import get_args

import jsonschema
import pytest
import yaml

from longspan.plugins.options import Options
from longspan_workflow.settings.blocks import SECTIONS, Settings
from longspan_workflow.settings.loading import load_settings
from tiny_settings import ROOT, every_key, tiny

CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]


def blocks_in(annotation):
    """Classes of blocks that a type holds."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return {annotation}
    return {block for part in get_args(annotation) for block in blocks_in(part)}


def all_blocks():
    """Every class of blocks that settings can hold."""
    found, queue = {Settings}, [Settings]
    while queue:
        for field in queue.pop().model_fields.values():
            new = blocks_in(field.annotation) - found
            found |= new
            queue += new
    return sorted(found, key=lambda block: block.__name__)


def keys(block):
    return {field.alias or name: field for name, field in block.model_fields.items()}


def values_of(block):
    """(block, keys that were given) of a block and of those in it."""
    if isinstance(block, Options):
        fields = type(block).model_fields
        yield type(block), {fields[name].alias or name for name in block.model_fields_set}
        for name in fields:
            yield from values_of(getattr(block, name))
    elif isinstance(block, dict | list):
        for value in block.values() if isinstance(block, dict) else block:
            yield from values_of(value)


def test_the_json_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(Settings.model_json_schema(by_alias=True))


@pytest.mark.parametrize("block", all_blocks(), ids=lambda block: block.__name__)
def test_every_block_is_closed_and_every_key_described(block):
    assert block.model_config["extra"] == "forbid"
    assert block.model_config["frozen"]
    assert block.__doc__
    for key, field in keys(block).items():
        assert field.description, key


def test_the_tests_use_every_key():
    given = {}
    for block, used in values_of(load_settings(every_key())):
        given.setdefault(block, set()).update(used)
    assert set(given) == set(all_blocks())
    missing = {key for block in all_blocks() for key in keys(block)} - set.union(*given.values())
    assert not missing


def test_the_settings_with_every_key_pass():
    settings = load_settings(every_key())
    assert settings.runs["main"].train.adam_beta1 == 0.8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_project_passes(path):
    config = yaml.safe_load(path.read_text())
    before = copy.deepcopy(config)
    settings = load_settings(config).as_settings()
    assert config == before  # it is not changed
    assert load_settings(settings).as_settings() == settings  # as the record of the settings is used again


def test_settings_come_back_as_they_were_given():
    def contained(given, found):
        if isinstance(given, dict):
            return all(key in found and contained(value, found[key]) for key, value in given.items())
        if isinstance(given, list):
            return len(given) == len(found) and all(map(contained, given, found))
        return given == found and type(given) is type(found)

    assert contained(every_key(), load_settings(every_key()).as_settings())


def test_names_are_resolved():
    settings = load_settings(every_key())
    run = settings.runs["main"]
    assert run.key == "main"
    assert run.selection is settings.selections["half"]
    assert run.selection.scorer is settings.scorers["tiny-layer0"]
    assert run.windowing.corpus is settings.corpora["short"]
    assert run.windowing.corpus.all_shard_names == ["00000", "00001", "held_out"]
    assert settings.runs["mixed"].mixture.corpora == [settings.corpora["short"]]
    assert [loss.key for loss in settings.runs["mixed"].losses] == ["dense"]
    assert settings.exports["kept"].windowing is run.windowing
    assert settings.selections["packed"].scorer is None
    assert settings.losses["sparse"].scorer is None
    for section in SECTIONS:
        assert all(block.key == name for name, block in getattr(settings, section).items())


def test_a_block_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_settings(tiny()).runs["main"].select_first = True


def test_held_out_works_are_counted_where_they_are_named():
    def works(**changes):
        return load_settings(tiny(**changes)).corpora["short"].held_out_works

    assert works() == 2
    assert works(**{"corpora/short/sources/0/hold_out": True}) is None
    assert works(**{"corpora/short/sources/0/hold_out": ["prose_0", "prose_1", "prose_2"]}) == 3


def test_defaults_are_filled_at_every_depth():
    own = {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}}
    settings = load_settings(tiny(**{"losses/own": own})).as_settings()
    assert (settings["results_dir"], settings["seed"]) == ("results", 1)
    assert settings["models"]["tiny"]["dtype"] == "float32"
    source = settings["corpora"]["short"]["sources"][1]
    assert (source["encoding"], source["hold_out"], source["text_column"]) == ("utf-8", [], "text")
    assert settings["windowings"]["short-128"] == {
        "corpus": "short",
        "tokenizer": "tiny",
        "window_tokens": 128,
        "policy": "stride",
        "stride_tokens": None,
        "discard_first": False,
        "add_bos": "auto",
        "sampling": {"windows_per_category": 4},
    }
    assert settings["scorers"]["tiny-32"]["windows_per_batch"] == 1
    assert settings["selections"]["half"]["alpha"] == 0.5
    assert settings["losses"]["own"]["self_scoring"]["windows_per_batch"] == 1
    assert "transforms" not in settings["losses"]["dense"]  # the variant decides
    run = settings["runs"]["main"]
    assert (run["seeds"], run["select_first"], run["train"]["adam_beta2"]) == ([0], False, 0.95)
    assert settings["evaluation"] == {"windows_per_document": None, "position_bins": 8}
    assert settings["report"] == {"title": "longspan", "compare_selections": ["drawn"]}


def test_a_default_is_not_shared_between_blocks():
    settings = load_settings(tiny(**{"runs/other": tiny()["runs"]["main"]}))
    settings.runs["main"].seeds.append(1)
    settings.as_settings()["runs"]["other"]["seeds"].append(2)
    assert settings.runs["other"].seeds == [0]


def test_losses_are_one_or_a_list():
    one, listed = (load_settings(tiny(**{"runs/main/loss": loss})) for loss in ("dense", ["dense"]))
    assert one.runs["main"].loss_names == listed.runs["main"].loss_names == ["dense"]


def test_a_model_whose_rope_theta_is_set_reaches_further():
    load_settings(tiny(**{"models/tiny/max_position_embeddings": 100, "models/tiny/rope_theta": 1e6}))
