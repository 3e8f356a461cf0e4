"""The closed schema of the settings and their defaults; faults are named with the nearest valid key."""

import copy
import difflib
import functools
import math
from pathlib import Path

import jsonschema
import yaml

SCHEMA_PATH = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

# YAML's 2.0 and .nan are no counts and no measures, whatever JSON says.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            ),
        }
    ),
)


class SettingsError(ValueError):
    """A fault in the settings, for the one who wrote them."""


def check_schema(settings: dict) -> None:
    """Refuse what the schema does not allow.

    Raises:
        SettingsError: naming the key, what is wrong with it, and what is valid.
    """
    errors = list(_Validator(_schema()).iter_errors(settings))
    if errors:
        raise SettingsError(
            _message(min(errors, key=lambda error: (len(error.absolute_path), str(error.path))))
        )


def fill_defaults(settings: dict) -> None:
    """Put the schema's defaults where a key is not given, in place."""
    _fill_defaults(_schema(), _schema(), settings)


@functools.cache
def _schema() -> dict:
    return yaml.safe_load(SCHEMA_PATH.read_text())


def nearest(word: str, valid) -> str:
    """End of a message about a word: the valid one that it is near to, or all."""
    valid = [str(name) for name in valid]
    close = difflib.get_close_matches(str(word), valid, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are: {', '.join(valid) or 'none'}"


def branch_of(schema: dict, value: object) -> dict:
    """The branch of a `oneOf` that `value`'s kind or method names; the schema itself where there is none."""
    if "oneOf" in schema and isinstance(value, dict):
        key, branches = _branches(schema["oneOf"])
        for name, branch in branches.items():
            if name == value.get(key):
                return branch
    return schema


def _branches(one_of: list[dict]) -> tuple[str, dict[str, dict]]:
    """The key that tells branches of a `oneOf` apart, and the branches by its values."""
    (key,) = (key for key, child in one_of[0]["properties"].items() if "const" in child)
    return key, {branch["properties"][key]["const"]: branch for branch in one_of}


def _message(error: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "settings"
    if error.validator == "oneOf":
        key, branches = _branches(error.validator_value)
        found = error.instance.get(key) if isinstance(error.instance, dict) else None
        names = list(branches)
        if found not in names:
            return f"{where}.{key}: '{found}' is unknown{nearest(found, names)}"
        inner = next(cause for cause in error.context if cause.schema_path[0] == names.index(found))
        if inner.validator == "additionalProperties" and inner.instance is error.instance:
            of_others = {name for branch in branches.values() for name in branch["properties"]}
            for foreign in sorted((inner.instance.keys() & of_others) - branches[found]["properties"].keys()):
                return f"{where}.{foreign}: not a key of {key} {found}"
        return _message(inner)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{where}.{unknown}: unknown key{nearest(unknown, known)}"
    if error.validator == "enum":
        return f"{where}: '{error.instance}' is unknown{nearest(error.instance, error.validator_value)}"
    described = error.schema.get("description", "")
    return f"{where}: {error.message}" + (f" ({described})" if described else "")


def _resolve(root: dict, schema: dict) -> dict:
    if reference := schema.get("$ref"):
        target = root
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        return target | {key: value for key, value in schema.items() if key != "$ref"}
    return schema


def _fill_defaults(root: dict, schema: dict, value: object) -> None:
    schema = branch_of(_resolve(root, schema), value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, child in properties.items():
            child = _resolve(root, child)
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if key in value:
                _fill_defaults(root, child, value[key])
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            for key in value.keys() - properties.keys():
                _fill_defaults(root, others, value[key])
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            _fill_defaults(root, schema["items"], item)
