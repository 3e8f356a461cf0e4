"""Faults of form: an unknown key, a wrong type, a value out of its bounds."""

import pytest

from longspan.plugins.options import Options
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from refusals import refused
from tiny_settings import every_key, tiny


def blocks(block, given, path=()):
    """(path, names of its keys, given value) of every block in the settings."""
    if isinstance(block, Options):
        fields = {field.alias or name: name for name, field in type(block).model_fields.items()}
        yield path, set(fields), given
        for key, value in given.items():
            yield from blocks(getattr(block, fields[key]), value, (*path, key))
    elif isinstance(block, dict):
        for key, value in given.items():
            yield from blocks(block[key], value, (*path, key))
    elif isinstance(block, list):
        for number, value in enumerate(given):
            yield from blocks(block[number], value, (*path, number))


EVERY_KEY = list(blocks(load_settings(every_key()), every_key()))
# Some tasks have an option `tasks`, so that it is told to be no key of the others.
KEYS = [
    (path, key)
    for path, keys, value in EVERY_KEY
    for key in value
    if len(key) > 3 and key + "s" not in keys and (path[:1], key) != (("evaluations",), "task")
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
    for path, _, value in EVERY_KEY
    for key in value
    for wrong in (["list"], {"a": "mapping"}, "a word", -1)
    if key != "kind"
    # Words and lists of words are what these take.
    and not (isinstance(wrong, str) and isinstance(value[key], str))
    and not (isinstance(wrong, list) and isinstance(value[key], list))
    and not (key in ("loss", "hold_out") and isinstance(wrong, str | list))
    and not (key == "truncation" and wrong == -1)
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
    assert caught.value.faults[0].startswith(".".join(map(str, (*path, key))))


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
            "selections.half: method longattn needs 'scorer'",
        ),
        ({"selections/half/method": "gzip"}, "selections.half.scorer: not a key of method gzip"),
        (
            {"selections/half/method": {}},
            "selections.half.method: '{}' is unknown; valid are: gzip, longattn, nll_gain, random",
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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 2.0),  # JSON Schema takes it for an integer
        ("seed", True),
        ("runs/main/train/max_steps", 4.0),
        ("runs/main/train/learning_rate", float("nan")),
        ("runs/main/train/learning_rate", float("inf")),
        ("runs/main/train/learning_rate", True),
    ],
)
def test_what_yaml_or_json_take_for_numbers_and_are_none_are_refused(path, value):
    with pytest.raises(SettingsError) as caught:
        load_settings(tiny(**{path: value}))
    assert str(caught.value).startswith(f"{path.replace('/', '.')}: ")
    assert "is not of type" in str(caught.value)


def test_numbers_of_yaml_that_it_takes_for_words_are_numbers():
    """PyYAML reads 2e-5, without a point, as a word; as YAML 1.2 and JSON have it, it is a number."""
    settings = load_settings(tiny(**{"runs/main/train/learning_rate": "2e-5"}))
    assert settings.runs["main"].train.learning_rate == 2e-5
    assert settings.as_settings()["runs"]["main"]["train"]["learning_rate"] == 2e-5
    for word in ("2e", "e5", "2", "0x1e5", "1e5s", "1e999"):
        with pytest.raises(SettingsError, match=r"learning_rate: .* is not of type 'number'"):
            load_settings(tiny(**{"runs/main/train/learning_rate": word}))
