"""Faults of the settings, in words: where, what is wrong, and what is valid."""

import difflib
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from longspan.plugins.options import Options

_TYPES = {
    "int_type": "integer",
    "bool_type": "boolean",
    "string_type": "string",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "number_type": "number",
}
_BOUNDS = {
    "greater_than": ("gt", "less than or equal to the minimum of"),
    "greater_than_equal": ("ge", "less than the minimum of"),
    "less_than": ("lt", "greater than or equal to the maximum of"),
    "less_than_equal": ("le", "greater than the maximum of"),
}
Path = tuple[str | int, ...]


class SettingsError(ValueError):
    """Faults in the settings, for the one who wrote them, a line each.

    Attributes:
        faults: the lines.
    """

    def __init__(self, *faults: str):
        super().__init__("\n".join(faults))
        self.faults = faults


def nearest(word: object, valid: Iterable[object]) -> str:
    """End of a message about a word: the valid one that it is near to, or all."""
    names = [str(name) for name in valid]
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are: {', '.join(names) or 'none'}"


def dotted(path: Path) -> str:
    """A place in the settings, as faults name it."""
    return ".".join(map(str, path)) or "settings"


def faults_of(error: ValidationError, settings: type[Options], given: object) -> dict[Path, str]:
    """Messages of pydantic's errors by the place of the fault, each place once.

    Args:
        error: of reading `given` as `settings`.
        settings: the outermost block.
        given: what was read.
    """
    found: dict[Path, list[tuple[dict, Place]]] = {}
    for part in error.errors(include_url=False):
        place = Place(settings, given, part["loc"])
        path = place.path
        if part["type"] in ("missing", "union_tag_invalid", "union_tag_not_found"):
            path = place.path
        found.setdefault(path, []).append((part, place))
    return {path: _message(path, parts) for path, parts in found.items()}


class Place:
    """Where an error is: its path in what was given, the block around it, and the field.

    Attributes:
        path: keys and numbers from the outermost block on.
        block: class of the innermost block that the path leads into.
        around: path of that block.
        siblings: the blocks that it was chosen from, by what chose it; and the key that chose.
        field: the field of that block that the error is in, or None.
        description: of the last field on the path.
        value: what was given there.
    """

    def __init__(self, block: type[Options], given: Any, loc: tuple):
        self.path: Path = ()
        self.block, self.around, self.value = block, (), given
        self.chosen_by: tuple[str, str] | None = None
        self.siblings: dict[str, type[Options]] = {}
        self.field, self.description = None, ""
        annotation: Any = block
        for part in loc:
            if isinstance(part, str) and "=" in part and (member := _member(annotation, part)):
                self.siblings = _members(annotation)
                self.block, self.around, self.field = member, self.path, None
                self.chosen_by = tuple(part.split("=", 1))
                annotation = member
                continue
            if annotation is self.block and self.field is None:
                field = next(
                    (
                        field
                        for name, field in self.block.model_fields.items()
                        if (field.alias or name) == part
                    ),
                    None,
                )
                self._step(part)
                if field is None:
                    return
                self.field, self.description = field, field.description
                annotation = field.annotation
                inner = _only_block(annotation)
                if inner is not None:
                    self._enter(inner)
                    annotation = inner
                continue
            if isinstance(self.value, dict | list) and _leads(self.value, part):
                self._step(part)
                annotation = _item_of(annotation)
                inner = _only_block(annotation)
                if inner is not None:
                    self._enter(inner)
                    annotation = inner
            # What remains are names of types and validators.

    def _enter(self, block: type[Options]) -> None:
        if isinstance(self.value, dict):
            self.block, self.around, self.field = block, self.path, None
            self.chosen_by, self.siblings = None, {}

    def _step(self, part: str | int) -> None:
        self.path += (part,)
        try:
            self.value = self.value[part]
        except (KeyError, IndexError, TypeError):
            self.value = None


def _leads(value: Any, part: str | int) -> bool:
    return part in value if isinstance(value, dict) else isinstance(part, int) and part < len(value)


def _unwrapped(annotation: Any) -> list[Any]:
    """The members of a union, without what annotates them."""
    if hasattr(annotation, "__metadata__"):
        return _unwrapped(annotation.__origin__)
    if get_origin(annotation) in (Union, type(int | str)):
        return [part for item in get_args(annotation) for part in _unwrapped(item)]
    return [annotation]


def _blocks(annotation: Any) -> list[type[Options]]:
    parts = _unwrapped(annotation)
    return [part for part in parts if isinstance(part, type) and issubclass(part, Options)]


def _only_block(annotation: Any) -> type[Options] | None:
    blocks = _blocks(annotation)
    return blocks[0] if len(blocks) == 1 else None


def _members(annotation: Any) -> dict[str, type[Options]]:
    found = {}
    for part in _tagged(annotation):
        tag = next(item.tag for item in part.__metadata__ if hasattr(item, "tag"))
        found[tag] = part.__origin__
    return found


def _tagged(annotation: Any) -> list[Any]:
    if hasattr(annotation, "__metadata__"):
        if any(hasattr(item, "tag") for item in annotation.__metadata__):
            return [annotation]
        return _tagged(annotation.__origin__)
    return [part for item in get_args(annotation) for part in _tagged(item)]


def _member(annotation: Any, tag: str) -> type[Options] | None:
    return _members(annotation).get(tag)


def _item_of(annotation: Any) -> Any:
    for part in _unwrapped(annotation):
        if get_origin(part) is list:
            return get_args(part)[0]
        if get_origin(part) is dict:
            return get_args(part)[1]
    return None


def _message(path: Path, parts: list[tuple[dict, Place]]) -> str:
    part, place = parts[0]
    kind, value, where = part["type"], place.value, dotted(path)
    described = f" ({place.description})" if place.description else ""
    if kind == "extra_forbidden":
        return _foreign(where, path[-1], place)
    if kind == "missing":
        around, key = dotted(path[:-1]), path[-1]
        if place.chosen_by is not None and place.around == path[:-1]:
            return f"{around}: {' '.join(place.chosen_by)} needs '{key}'"
        return f"{around}: '{key}' is a required property"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key, _, found = part["ctx"]["tag"].partition("=")
        valid = [name.strip(" '").partition("=")[2] for name in part["ctx"]["expected_tags"].split(", ")]
        return f"{where}.{key}: '{found}' is unknown{nearest(found, valid)}"
    if kind == "literal_error" and len(parts) == 1:
        valid = _literals(place.field.annotation if place.field is not None else None)
        if isinstance(value, str) or not valid:
            return f"{where}: '{value}' is unknown{nearest(value, valid)}"
        return f"{where}: '{value}' is unknown; valid are: {', '.join(map(str, valid))}"
    types = [_TYPES[other["type"]] for other, _ in parts if other["type"] in _TYPES]
    wanted = ", ".join(repr(name) for name in dict.fromkeys(types))
    if len(types) == len(parts):
        return f"{where}: {value!r} is not of type {wanted}{described}"
    for other, _ in parts:
        if other["type"] in _BOUNDS:
            bound, words = _BOUNDS[other["type"]]
            return f"{where}: {value!r} is {words} {other['ctx'][bound]}{described}"
    if kind == "string_pattern_mismatch":
        if path and path[-1] != part["loc"][-1]:
            return f"{where}: the name {part['input']!r} does not match {part['ctx']['pattern']!r}{described}"
        return f"{where}: {value!r} does not match {part['ctx']['pattern']!r}{described}"
    if kind in ("too_short", "string_too_short"):
        return f"{where}: {value!r} should be non-empty{described}"
    if kind in ("one_key", "unique"):
        return f"{where}: {part['msg']}{described}"
    if types:
        return f"{where}: {value!r} is not of type {wanted}{described}"
    return f"{where}: {part['msg']}{described}"


def _foreign(where: str, key: str | int, place: Place) -> str:
    of_siblings = {
        field.alias or name
        for sibling in place.siblings.values()
        for name, field in sibling.model_fields.items()
    }
    if key in of_siblings and place.chosen_by is not None:
        return f"{where}: not a key of {' '.join(place.chosen_by)}"
    if place.path == (key,):
        where = f"settings.{key}"
    known = [field.alias or name for name, field in place.block.model_fields.items()]
    return f"{where}: unknown key{nearest(key, known)}"


def _literals(annotation: Any) -> list[Any]:
    found = []
    for part in _unwrapped(annotation):
        # A list of literals holds them one deeper.
        inner = [get_args(value) for value in get_args(part) if get_origin(value) is Literal]
        found += inner[0] if inner else get_args(part)
    return [value for value in found if not isinstance(value, type)]
