import copy
from pathlib import Path

import jsonschema
import pytest
import yaml
from longspan_workflow.settings.relations import losses_of, scored_pairs, selecting_pairs
from longspan_workflow.settings.schema import SCHEMA_PATH, SettingsError, branch_of

from longspan_workflow.settings.loading import load_settings
from refusals import refused

ROOT = Path(__file__).parents[3]
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]
SHA256 = "0" * 64
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())


def tiny(**changes):
    """The tiny run's settings; `changes` maps paths to values, and ... takes away."""
    return changed(copy.deepcopy(TINY), changes)


def changed(settings, changes):
    for path, value in changes.items():
        *folders, key = (int(part) if part.isdigit() else part for part in path.split("/"))
        block = settings
        for folder in folders:
            block = block[folder] if isinstance(block, list) else block.setdefault(folder, {})
        if value is ...:
            del block[key]
        else:
            block[key] = value
    return settings


def every_key():
    """Settings in which every key of the schema is used somewhere."""
    settings = tiny(
        **{
            "results_dir": "r",
            "downloads_dir": "d",
            "device": {"memory_gb": 80, "tflops": 798},
            "models/wheel": {
                "source": {
                    "kind": "pypi",
                    "requirement": "m==1",
                    "archive": "m-1.whl",
                    "sha256": SHA256,
                    "gguf": "m.gguf",
                },
                "license": "l",
                "max_position_embeddings": 512,
                "dtype": "bfloat16",
                "attention": "eager",
                "rope_theta": 1e6,
                "compile_layers": True,
            },
            "models/hub": {
                "source": {"kind": "hub", "repo": "o/n", "revision": "main"},
                "license": "l",
                "max_position_embeddings": 512,
            },
            "corpora/other": {
                "shards": 1,
                "on_bad_document": "skip",
                "drop_duplicates": False,
                "clean_up": {
                    "min_characters": 1,
                    "min_printable_share": 0.5,
                    "max_repeated_line_share": 0.5,
                    "overlap": {
                        "ngram_words": 5,
                        "max_overlap_share": 0.1,
                        "files": ["x"],
                        "text_column": "t",
                    },
                },
                "sources": [
                    {
                        "kind": "pypi",
                        "requirement": "t==1",
                        "archive": "t-1.tar.gz",
                        "sha256": SHA256,
                        "files": ["*.txt"],
                        "category": "c",
                        "license": "l",
                        "format": "txt",
                        "encoding": "latin-1",
                        "boilerplate": "gutenberg",
                        "hold_out": True,
                    },
                    {
                        "kind": "hub",
                        "dataset": "o/d",
                        "config": "c",
                        "split": "test",
                        "revision": "main",
                        "category": "c",
                        "license": "l",
                        "text_column": "body",
                        "title_column": "name",
                        "group_by": "book",
                    },
                    {
                        "kind": "files",
                        "paths": ["x"],
                        "category": "c",
                        "license": "l",
                        "id_column": "data_id",
                        "sample": {"documents": 3},
                    },
                    {
                        "kind": "files",
                        "paths": ["y"],
                        "category": "c",
                        "license": "l",
                        "sample": {"characters": 3},
                    },
                ],
            },
            "windowings/both": {
                "corpus": "other",
                "tokenizer": "tiny",
                "window_tokens": 128,
                "policy": "both_ends",
                "max_overlap_tokens": 5,
                "add_bos": True,
                "sampling": {"fraction": 0.5},
            },
            "windowings/strided": {
                "corpus": "other",
                "tokenizer": "tiny",
                "window_tokens": 128,
                "stride_tokens": 64,
                "discard_first": True,
            },
            "scorers/tiny-32/windows_per_batch": 4,
            "scorers/tiny-32/rope_theta": 1e6,
            "scorers/tiny-layer0/rope_theta": 1e6,
            "exports/all": {"windowing": "both", "private": False, "repo": "o/windows"},
            "exports/kept/loss": "dense",
            "selections/half/mode": "released",
            "selections/half/alpha": 0.25,
            "selections/few": {
                "windowing": "short-128",
                "method": "longattn",
                "scorer": "tiny-layer0",
                "keep": {"per_category": {"prose": {"windows": 3}, "rows": {"tokens": 900}}},
            },
            "selections/gain": {
                "windowing": "short-128",
                "method": "nll_gain",
                "scorer": "tiny-32",
                "keep": {"ratio": 0.5},
            },
            "selections/packed": {"windowing": "short-128", "method": "gzip", "keep": {"ratio": 0.5}},
            "selections/drawn": {"windowing": "short-128", "method": "random", "keep": {"ratio": 0.5}},
            "selections/part": {
                "windowing": "short-128",
                "method": "longattn",
                "scorer": "tiny-layer0",
                "keep": {"per_category": {"prose": {"ratio": 0.5}}},
            },
            "losses/parts": {
                "comparison": "quotient",
                "transforms": ["shift 2", "max"],
                "truncation": 5,
                "normalization": "L1",
                "interpolation": 0.5,
                "scorer": "tiny-32",
            },
            "losses/sparse": {
                "variant": "sparse",
                "sparsification": 0.5,
                "self_scoring": {"base_length": 32, "base_stride": 24, "windows_per_batch": 2},
            },
            "losses/npmi": {"variant": "npmi", "shift": 2.0, "sparsification": 0.2, "scorer": "tiny-32"},
            "mixtures/mixed": {"short": [{"corpus": "short", "token_share": 0.25, "document_tokens": 64}]},
            "runs/mixed": tiny()["runs"]["main"] | {"mixture": "mixed"},
            "runs/main/select_first": True,
            "runs/main/seeds": [0, 7],
            "runs/main/train": {
                "max_steps": 4,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "learning_rate": 1e-3,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 1,
                "adam_beta1": 0.8,
                "adam_beta2": 0.9,
                "adam_epsilon": 1e-7,
                "weight_decay": 0.0,
                "max_grad_norm": 2.0,
                "bf16": True,
                "gradient_checkpointing": True,
                "save_steps": 2,
                "compile_layers": True,
                "keep_attention": True,
                "mlp_tokens": 1024,
                "devices": 2,
                "nodes": 2,
                "sharding": "full",
                "cpu_offload": True,
                "context_parallel_size": 1,
                "report_to": ["tensorboard"],
                "eval_steps": 3,
                "rope_theta": 1e6,
            },
            "evaluation": {"windows_per_document": 2, "position_bins": 4},
            "report": {"title": "t", "compare_selections": ["gain", "packed"]},
        }
    )
    for number, keep in enumerate(({"windows": 2}, {"tokens": 500})):
        settings["selections"][f"keep{number}"] = settings["selections"]["few"] | {"keep": keep}
    return settings


def blocks(root, schema, value, path=()):
    """(path, schema, value) of every mapping in the settings."""
    if reference := schema.get("$ref"):
        target = root
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        schema = target | schema
    schema = branch_of(schema, value)
    if isinstance(value, dict):
        yield path, schema, value
        for key, child in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            yield from blocks(root, inner, child, (*path, key))
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from blocks(root, schema["items"], item, (*path, number))


SCHEMA = yaml.safe_load(SCHEMA_PATH.read_text())
EVERY_KEY = list(blocks(SCHEMA, SCHEMA, every_key()))


def properties(schema):
    """Every mapping of properties anywhere in the schema."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield schema
        for value in schema.values():
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_block_is_closed_and_every_key_described():
    for block in properties(SCHEMA):
        assert block["additionalProperties"] is False, block
        for key, value in block["properties"].items():
            target = SCHEMA["$defs"][value["$ref"].split("/")[-1]] if "$ref" in value else {}
            described = target | value
            # A digest or a name is described where it is used, or says all by its pattern.
            assert "description" in described or "pattern" in described, key
            # validate would ask for a key that has a default.
            assert not ("default" in described and key in block.get("required", [])), key


def test_these_tests_use_every_key_of_the_schema():
    used = {(id(schema), key) for _, schema, value in EVERY_KEY for key in value}
    used_keys = {key for _, key in used}
    missing = {key for block in properties(SCHEMA) for key in block["properties"]} - used_keys
    assert not missing


def test_the_settings_with_every_key_pass():
    settings = load_settings(every_key())
    assert settings["runs"]["main"]["train"]["adam_beta1"] == 0.8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_project_passes(path):
    config = yaml.safe_load(path.read_text())
    before = copy.deepcopy(config)
    settings = load_settings(config)
    assert config == before  # it is not changed
    assert load_settings(settings) == settings  # as the report does, which reads the recorded settings


KEYS = [
    (path, key)
    for path, schema, value in EVERY_KEY
    for key in value
    if key in schema.get("properties", {}) and len(key) > 3
]


@pytest.mark.parametrize(
    ("path", "key"), KEYS, ids=lambda value: "/".join(map(str, value)) if isinstance(value, tuple) else value
)
def test_a_misspelt_key_is_named_with_the_nearest(path, key):
    settings = every_key()
    block = settings
    for part in path:
        block = block[part]
    wrong = key + "s"
    block[wrong] = block[key]
    # One more key than a rule may have would be a fault of its own.
    if path[-1:] in (("keep",), ("sampling",)) or path[-2:-1] == ("per_category",):
        del block[key]
    with refused(
        f"{'.'.join(map(str, (*path, wrong))) if path else f'settings.{wrong}'}: "
        f"unknown key; did you mean '{key}'?",
        SettingsError,
    ):
        load_settings(settings)


WRONG = [
    (path, key, wrong)
    for path, schema, value in EVERY_KEY
    for key in value
    for wrong in (["list"], {"a": "mapping"}, "a word", -1)
    if key in schema.get("properties", {})
    and key != "kind"
    # Words and lists of words are what these take.
    and not (isinstance(wrong, str) and isinstance(value[key], str))
    and not (isinstance(wrong, list) and isinstance(value[key], list))
    and not (key in ("loss", "hold_out") and isinstance(wrong, str | list))
    and not (key == "truncation" and wrong == -1)
    and not (
        path == () and key in ("models", "corpora", "windowings", "scorers", "selections", "losses", "runs")
    )
]


@pytest.mark.parametrize(("path", "key", "wrong"), WRONG[::3])
def test_a_value_of_the_wrong_type_is_named_by_its_key(path, key, wrong):
    settings = every_key()
    block = settings
    for part in path:
        block = block[part]
    block[key] = wrong
    with pytest.raises(SettingsError) as caught:
        load_settings(settings)
    assert str(caught.value).startswith(".".join(map(str, (*path, key))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": "one"},
            "seed: 'one' is not of type 'integer' (Root seed; every stage derives its own from it, the stage "
            "and a name.)",
        ),
        (
            {"runs/main/train/learning_rate": 0},
            "runs.main.train.learning_rate: 0 is less than or equal to the minimum of 0 "
            "(Peak learning rate.)",
        ),
        (
            {"windowings/short-128/policy": "strides"},
            "windowings.short-128.policy: 'strides' is unknown; did you mean 'stride'?",
        ),
        (
            {"scorers/tiny-32/kind": "short"},
            "scorers.tiny-32.kind: 'short' is unknown; did you mean 'short_nll'?",
        ),
        (
            {"models/tiny/source": {"path": "inputs"}},
            "models.tiny.source.kind: 'None' is unknown; valid are: pypi, hub, folder",
        ),
        (
            {"models/tiny/source": "inputs"},
            "models.tiny.source.kind: 'None' is unknown; valid are: pypi, hub, folder",
        ),
        ({"windowings": ...}, "settings: 'windowings' is a required property"),
        (
            {"selections/half/keep": {"ratio": 0.5, "windows": 3}},
            "selections.half.keep: {'ratio': 0.5, 'windows': 3} has too many properties "
            "(Which part is kept, the best first.)",
        ),
        (
            {"selections/half/scorer": ...},
            "selections.half: 'scorer' is a required property",
        ),
        ({"selections/half/method": "gzip"}, "selections.half.scorer: not a key of method gzip"),
        (
            {"selections/half/method": {}},
            "selections.half.method: '{}' is unknown; valid are: longattn, nll_gain, gzip, random",
        ),
        (
            {"selections/half/method": "nll_gain", "selections/half/alpha": 0.5},
            "selections.half.alpha: not a key of method nll_gain",
        ),
        (
            {"scorers/tiny-layer0/base_length": 8},
            "scorers.tiny-layer0.base_length: not a key of kind attention",
        ),
    ],
)  # fmt: skip
def test_faults_that_the_schema_sees(changes, message):
    with refused(message, SettingsError):
        load_settings(tiny(**changes))


SOURCE = "corpora/short/sources/0"
FILES = "corpora.short.sources.0"
GAIN = {"windowing": "short-128", "method": "nll_gain", "scorer": "tiny-32", "keep": {"ratio": 0.5}}
ARCHIVE = {
    "kind": "pypi",
    "requirement": "t==1",
    "archive": "t-1.tar.gz",
    "sha256": SHA256,
    "files": ["*.txt"],
    "category": "c",
    "license": "l",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # sources
        ({f"{SOURCE}/dataset": "o/d"}, f"{FILES}.dataset: not a key of kind files"),
        ({f"{SOURCE}/paths": ...}, f"{FILES}: kind files needs 'paths'"),
        ({f"{SOURCE}/kind": "pypi"}, f"{FILES}.paths: not a key of kind pypi"),
        ({f"{SOURCE}/kind": "hub", f"{SOURCE}/paths": ...}, f"{FILES}: kind hub needs 'dataset'"),
        ({f"{SOURCE}/encoding": "latin-99"}, f"{FILES}.encoding: Python knows no encoding 'latin-99'"),
        (
            {f"{SOURCE}/format": "txt", f"{SOURCE}/group_by": "book"},
            f"{FILES}.group_by: not a key of format txt",
        ),
        (
            {"corpora/other": {"shards": 1, "sources": [ARCHIVE, ARCHIVE | {"sha256": "1" * 64}]}},
            "corpora.other.sources.1: archive 't-1.tar.gz' is pinned in two ways; "
            "give it one requirement and one sha256",
        ),
        # names that are used and not defined
        (
            {"windowings/short-128/corpus": "shrt"},
            "windowings.short-128.corpus: there is no 'shrt' under corpora; did you mean 'short'?",
        ),
        (
            {"windowings/short-128/tokenizer": "gpt"},
            "windowings.short-128.tokenizer: there is no 'gpt' under models; valid are: tiny",
        ),
        (
            {"scorers/tiny-32/model": "tine"},
            "scorers.tiny-32.model: there is no 'tine' under models; did you mean 'tiny'?",
        ),
        (
            {"selections/half/windowing": "short"},
            "selections.half.windowing: there is no 'short' under windowings; did you mean 'short-128'?",
        ),
        (
            {"selections/half/scorer": "layer"},
            "selections.half.scorer: there is no 'layer' under scorers; did you mean 'tiny-layer0'?",
        ),
        (
            {"selections/half/scorer": "tiny-32"},
            "selections.half.scorer: 'tiny-32' is a scorer of kind short_nll, needed is attention",
        ),
        (
            {"selections/half": GAIN | {"scorer": "tiny-layer0"}},
            "selections.half.scorer: 'tiny-layer0' is a scorer of kind attention, needed is short_nll",
        ),
        (
            {"selections/half": GAIN | {"scorer": "tine-32"}},
            "selections.half.scorer: there is no 'tine-32' under scorers; did you mean 'tiny-32'?",
        ),
        (
            {"losses/dense/scorer": "tiny-layer0"},
            "losses.dense.scorer: 'tiny-layer0' is a scorer of kind attention, needed is short_nll",
        ),
        ({"runs/main/model": "x"}, "runs.main.model: there is no 'x' under models; valid are: tiny"),
        (
            {"runs/main/windowing": "x"},
            "runs.main.windowing: there is no 'x' under windowings; valid are: short-128",
        ),
        (
            {"runs/main/selection": "x"},
            "runs.main.selection: there is no 'x' under selections; valid are: half, drawn",
        ),
        (
            {"runs/main/loss": ["dense", "dens"]},
            "runs.main.loss: there is no 'dens' under losses; did you mean 'dense'?",
        ),
        # windowings
        (
            {"windowings/short-128/max_overlap_tokens": 3},
            "windowings.short-128.max_overlap_tokens: not a key of policy stride",
        ),
        (
            {"windowings/short-128/max_overlap_tokens": 0},
            "windowings.short-128.max_overlap_tokens: not a key of policy stride",
        ),
        (
            {"windowings/short-128/policy": "both_ends", "windowings/short-128/stride_tokens": 3},
            "windowings.short-128.stride_tokens: not a key of policy both_ends",
        ),
        (
            {"windowings/short-128/policy": "both_ends", "windowings/short-128/discard_first": True},
            "windowings.short-128.discard_first: not a key of policy both_ends",
        ),
        # losses
        (
            {"losses/dense": {"variant": "sparse", "interpolation": 0.5, "scorer": "tiny-32"}},
            "losses.dense.interpolation: 0.5 is foreign to variant 'sparse'; its keys: sparsification",
        ),
        (
            {"losses/dense": {"variant": "plain", "scorer": "tiny-32"}},
            "losses.dense.scorer: plain cross-entropy uses no scores; remove it",
        ),
        (
            {"losses/dense": {"variant": "plain", "self_scoring": {"base_length": 32, "base_stride": 24}}},
            "losses.dense.self_scoring: plain cross-entropy uses no scores; remove it",
        ),
        (
            {"losses/dense": {"variant": "dense"}},
            "losses.dense: a weighted loss needs either 'scorer' (frozen, of kind short_nll) "
            "or 'self_scoring'",
        ),
        (
            {"losses/dense/self_scoring": {"base_length": 32, "base_stride": 24}},
            "losses.dense: a weighted loss needs either 'scorer' (frozen, of kind short_nll) "
            "or 'self_scoring'",
        ),
        # runs
        (
            {
                "windowings/other": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 128},
                "runs/main/windowing": "other",
            },
            "runs.main.selection: 'half' selects from windowing 'short-128', the run's is 'other'",
        ),
        (
            {"selections/half/keep": {"per_category": {"pros": {"ratio": 0.5}}}},
            "selections.half.keep.per_category: no category 'pros' in corpus 'short'; did you mean 'prose'?",
        ),
        (
            {"selections/idle": GAIN | {"keep": {"per_category": {"pros": {"ratio": 0.5}}}}},
            "selections.idle.keep.per_category: no category 'pros' in corpus 'short'; did you mean 'prose'?",
        ),
        (
            {"selections/half": GAIN, "scorers/tiny-32/store_long": False},
            "selections.half.scorer: 'tiny-32' stores no long NLL, which a gain needs; set its store_long",
        ),
        (
            {"selections/half": GAIN, "runs/main/select_first": True},
            "runs.main.select_first: 'half' chooses by the NLL of 'tiny-32', so all windows need it first; "
            "remove select_first",
        ),
        (
            {"runs/main/selection": None, "runs/main/select_first": True},
            "runs.main.select_first: needs a selection",
        ),
        (
            {f"{SOURCE}/hold_out": []},
            "runs.main: corpus 'short' holds no work out for evaluation; "
            "name titles under hold_out of a source",
        ),
        (
            {f"{SOURCE}/hold_out": False},
            "runs.main: corpus 'short' holds no work out for evaluation; "
            "name titles under hold_out of a source",
        ),
        (
            {"models/tiny/max_position_embeddings": 100},
            "runs.main: 128 tokens are more than the 100 positions of model 'tiny'; "
            "shorten them, or set rope_theta",
        ),
        # exports
        ({"runs": ..., "exports": {}}, "settings: nothing to make; name something under runs or exports"),
        ({"exports/kept/selection": ...}, "exports.kept: needs either 'selection' or 'windowing'"),
        ({"exports/kept/windowing": "short-128"}, "exports.kept: needs either 'selection' or 'windowing'"),
        (
            {"exports/kept/selection": "hal"},
            "exports.kept.selection: there is no 'hal' under selections; did you mean 'half'?",
        ),
        (
            {"exports/all": {"windowing": "short"}},
            "exports.all.windowing: there is no 'short' under windowings; did you mean 'short-128'?",
        ),
        (
            {"exports/kept/loss": "dens"},
            "exports.kept.loss: there is no 'dens' under losses; did you mean 'dense'?",
        ),
        *(
            (
                {"exports/kept/loss": "dense"} | change,
                "exports.kept.loss: 'dense' needs a frozen 'scorer' with store_long: true; "
                "the weights that are written compare its short and long NLL",
            )
            for change in (
                {"scorers/tiny-32/store_long": False},
                {"losses/dense": {"variant": "plain"}},
                {
                    "losses/dense": {
                        "variant": "dense",
                        "self_scoring": {"base_length": 32, "base_stride": 24},
                    }
                },
            )
        ),
        (
            {
                "exports/all": {"windowing": "wide", "loss": "dense"},
                "windowings/wide": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 256},
            },
            "scorers.tiny-32 (over windowing 'wide'): base_stride 24 does not divide sequence_tokens - "
            "base_length = 256 - 32 = 224, so the last token would not be scored; nearest valid: 16 and 28",
        ),
        # report
        (
            {"report/compare_selections": ["drown"]},
            "report.compare_selections: there is no 'drown' under selections; did you mean 'drawn'?",
        ),
        (
            {
                "windowings/other": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 64},
                "selections/drawn/windowing": "other",
            },
            "report.compare_selections: 'drawn' selects from windowing 'other', which no run or export uses",
        ),
        # stores
        (
            {"scorers/tiny-32/base_stride": 25},
            "scorers.tiny-32 (over windowing 'short-128'): base_stride 25 does not divide sequence_tokens - "
            "base_length = 128 - 32 = 96, so the last token would not be scored; nearest valid: 24",
        ),
        (
            {"scorers/tiny-32/base_length": 256},
            "scorers.tiny-32 (over windowing 'short-128'): base_length 256 must lie in 2 ... 128, "
            "the tokens of a sequence",
        ),
        (
            {
                "losses/dense": {
                    "variant": "dense",
                    "self_scoring": {"base_length": 32, "base_stride": 40},
                }
            },
            "losses.dense.self_scoring (over windowing 'short-128'): base_stride 40 must lie in "
            "1 ... base_length - 1 = 31",
        ),
        (
            {"models/tiny/max_position_embeddings": 100, "runs/main/train/rope_theta": 1e6},
            "scorers.tiny-32 (over windowing 'short-128'): 128 tokens are more than the 100 positions "
            "of model 'tiny'; shorten them, or set rope_theta",
        ),
        (
            {
                "models/tiny/max_position_embeddings": 20,
                "runs/main/train/rope_theta": 1e6,
                "scorers/tiny-32/store_long": False,
            },
            "scorers.tiny-32 (over windowing 'short-128'): 32 tokens are more than the 20 positions "
            "of model 'tiny'; shorten them, or set rope_theta",
        ),
        (
            {
                "models/tiny/max_position_embeddings": 100,
                "runs/main/train/rope_theta": 1e6,
                "scorers/tiny-32/rope_theta": 1e6,
            },
            "scorers.tiny-layer0 (for selection 'half'): 128 tokens are more than the 100 positions "
            "of model 'tiny'; shorten them, or set rope_theta",
        ),
        (
            {
                "selections/half": GAIN | {"scorer": "wide"},
                "scorers/wide": {
                    "kind": "short_nll",
                    "model": "tiny",
                    "base_length": 32,
                    "base_stride": 25,
                    "store_long": True,
                },
            },
            "scorers.wide (for selection 'half'): base_stride 25 does not divide sequence_tokens - "
            "base_length = 128 - 32 = 96, so the last token would not be scored; nearest valid: 24",
        ),
    ],
)
def test_faults_between_keys(changes, message):
    with refused(message, SettingsError):
        load_settings(tiny(**changes))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 2.0),  # JSON Schema takes it for an integer
        ("seed", True),
        ("runs/main/train/max_steps", 4.0),
        ("runs/main/train/learning_rate", float("nan")),
        ("runs/main/train/learning_rate", float("inf")),
        ("runs/main/train/learning_rate", True),
        ("runs/main/train/learning_rate", "2e-5"),  # YAML takes 2e-5 for a word
    ],
)
def test_what_yaml_or_json_take_for_numbers_and_are_none_are_refused(path, value):
    with pytest.raises(SettingsError) as caught:
        load_settings(tiny(**{path: value}))
    assert str(caught.value).startswith(f"{path.replace('/', '.')}: ")
    assert "is not of type" in str(caught.value)


def test_a_store_that_a_selection_chooses_by_may_be_one_that_another_run_trains_on():
    settings = load_settings(
        tiny(
            **{
                "selections/gain": GAIN,
                "runs/main/select_first": True,
                "runs/second": tiny()["runs"]["main"] | {"selection": "gain"},
            }
        )
    )
    assert selecting_pairs(settings) == {
        ("short-128", "tiny-layer0"): ["half"],
        ("short-128", "tiny-32"): ["gain"],
    }


def test_a_model_whose_rope_theta_is_set_reaches_further():
    load_settings(tiny(**{"models/tiny/max_position_embeddings": 100, "models/tiny/rope_theta": 1e6}))


def test_defaults_are_filled_at_every_depth():
    settings = load_settings(tiny(**{"losses/own": {
        "variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}}}))  # fmt: skip
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
    settings["runs"]["main"]["seeds"].append(1)
    assert settings["runs"]["other"]["seeds"] == [0]


def test_losses_are_one_or_a_list_and_each_store_is_scored_once():
    assert losses_of({"loss": "dense"}) == losses_of({"loss": ["dense"]}) == ["dense"]
    settings = load_settings(
        tiny(
            **{
                "losses/sparse": {"variant": "sparse", "sparsification": 0.5, "scorer": "tiny-32"},
                "losses/plain": {"variant": "plain"},
                "losses/own": {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}},
                "runs/main/loss": ["dense", "sparse", "plain", "own"],
                "runs/plain": tiny()["runs"]["main"] | {"loss": "plain"},
                "runs/second": tiny()["runs"]["main"],
            }
        )
    )
    assert scored_pairs(settings) == {("short-128", "tiny-32"): [None]}


def test_what_runs_and_exports_need_of_a_store_is_known():
    def pairs(**changes):
        return scored_pairs(load_settings(tiny(**changes)))

    wide = {
        "windowings/wide": tiny()["windowings"]["short-128"],
        "exports/all": {"windowing": "wide", "loss": "dense"},
    }
    first, other = {"runs/main/select_first": True}, {"selections/other": tiny()["selections"]["half"]}
    kept = {"exports/kept/loss": "dense"}
    assert pairs(**first) == {("short-128", "tiny-32"): ["half"]}
    assert pairs(**first, **kept) == {("short-128", "tiny-32"): ["half"]}
    assert pairs(**first, **other, **kept, **{"exports/kept/selection": "other"}) == {
        ("short-128", "tiny-32"): ["half", "other"]
    }
    assert pairs(**kept) == {("short-128", "tiny-32"): [None, "half"]}
    assert pairs(**first, **wide) == {("short-128", "tiny-32"): ["half"], ("wide", "tiny-32"): [None]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"context_parallel_size": 2},
            "runs.main.train.context_parallel_size: sequences split over devices are not supported, since "
            "tokens' weights would not be split with them; set it to 1, and use sharding: full for memory",
        ),
        (
            {"sharding": "full"},
            "runs.main.train.sharding: full needs several devices; set devices, or sharding: none",
        ),
        ({"cpu_offload": True}, "runs.main.train.cpu_offload: needs sharding: full"),
        (
            {"keep_attention": True, "compile_layers": True},
            "runs.main.train.keep_attention: needs gradient_checkpointing and compile_layers",
        ),
        ({"mlp_tokens": 64}, "runs.main.train.mlp_tokens: needs compile_layers"),
    ],
)
def test_executions_that_cannot_be_are_refused(changes, message):
    settings = tiny()
    settings["runs"]["main"]["train"] |= changes
    with pytest.raises(SettingsError) as caught:
        load_settings(settings)
    assert str(caught.value) == message


MIXED = {"corpus": "short", "token_share": 0.5, "document_tokens": 64}


@pytest.mark.parametrize(
    ("sources", "changes", "message"),
    [
        (
            [MIXED | {"corpus": "shart"}],
            {},
            "mixtures.m.short.0.corpus: there is no 'shart' under corpora; did you mean 'short'?",
        ),
        ([MIXED, MIXED], {}, "mixtures.m: its shares leave no token to the long windows"),
        (
            [MIXED | {"token_share": 0.1}] * 2,
            {},
            "mixtures.m: names a corpus twice; give it one share",
        ),
        (
            [MIXED | {"document_tokens": 129}],
            {},
            "mixtures.m: documents of 129 tokens are longer than the 128 of a window; lower document_tokens",
        ),
        (
            [MIXED],
            {"models/tiny/attention": "eager"},
            "runs.main.mixture: packed documents need attention: sdpa of model 'tiny'",
        ),
    ],
)
def test_mixtures_that_cannot_be_are_refused(sources, changes, message):
    changes = {"mixtures/m": {"short": sources}, "runs/main/mixture": "m", **changes}
    with pytest.raises(SettingsError) as caught:
        load_settings(tiny(**changes))
    assert str(caught.value) == message
