"""The settings, read and checked before the first job; all faults of a file are told at once."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from longspan_workflow.settings.blocks import SECTIONS, Settings, UnresolvedError, references
from longspan_workflow.settings.checks import checks_of
from longspan_workflow.settings.controls import add_controls
from longspan_workflow.settings.faults import SettingsError, dotted, faults_of, nearest


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Read settings, with their defaults; `config` itself stays as it is.

    Raises:
        SettingsError: naming each key that is wrong, what is wrong with it, and what is valid.
    """
    given = copy.deepcopy(dict(config))
    faults: list[str] = []
    try:
        settings = Settings.model_validate(given)
        broken: set[tuple] = set()
    except ValidationError as error:
        found = faults_of(error, Settings, given)
        faults += found.values()
        broken = {path[:2] for path in found}
        settings = _without(given, broken)
        if settings is None:
            raise SettingsError(*faults) from None
    faults += _unknown_names(settings, broken)
    for check in checks_of(settings):
        faults += _as_far_as_named(check)
    if faults:
        raise SettingsError(*dict.fromkeys(faults))
    add_controls(settings)
    return settings


def _without(given: dict, broken: Iterable[tuple]) -> Settings | None:
    """What is left of the settings without blocks that have faults; None if that cannot be read."""
    rest = copy.deepcopy(given)
    for path in broken:
        section = rest.get(path[0]) if path else None
        if len(path) == 2 and path[0] in SECTIONS and isinstance(section, dict):
            section.pop(path[1], None)
        elif path:
            rest.pop(path[0], None)
    for name in ("models", "corpora", "windowings"):
        rest.setdefault(name, {})
    try:
        return Settings.model_validate(rest)
    except ValidationError:
        return None


def _unknown_names(settings: Settings, broken: set[tuple]) -> Iterator[str]:
    for section in SECTIONS:
        for key, block in getattr(settings, section).items():
            yield from _unknown_in((section, key), block, settings, broken)
    yield from _unknown_in(("report",), settings.report, settings, broken)


def _unknown_in(where: tuple, block: Any, settings: Settings, broken: set[tuple]) -> Iterator[str]:
    for path, name, ref in references(block):
        defined = getattr(settings, ref.section)
        place = dotted((*where, *path))
        if name not in defined:
            # A block with a fault of its own is there all the same.
            if (ref.section, name) not in broken and (ref.section,) not in broken:
                valid = [*defined, *(path[1] for path in broken if len(path) == 2 and path[0] == ref.section)]
                yield f"{place}: there is no '{name}' under {ref.section}{nearest(name, valid)}"
        elif ref.kind is not None and defined[name].kind != ref.kind:
            yield f"{place}: '{name}' is a scorer of kind {defined[name].kind}, needed is {ref.kind}"


def _as_far_as_named(check: Iterator[str]) -> list[str]:
    """Faults that a check finds before it comes upon a name that is not defined, which is told elsewhere."""
    found = []
    with suppress(UnresolvedError):
        for fault in check:
            found.append(fault)
    return found
