"""Settings files, read as data: nothing in them runs, and no key stands twice in one mapping."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from longspan_workflow.settings.faults import SettingsError

# Snakemake evaluates these by YTE before any workflow sees the settings.
_RUNS_CODE = ("__use_yte__", "__definitions__", "__variables__")


def read_settings(path: Path | str) -> dict:
    """Content of a settings file.

    Raises:
        SettingsError: a file that is missing or no mapping, a key twice in one mapping, or a key that runs
            code.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        # A date that is none, or a number of thousands of digits, is a ValueError.
        raise SettingsError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must be a mapping of settings")
    faults = [f"{path}: {fault}" for fault in (*_doubled(node), *_code(content))]
    if faults:
        raise SettingsError(*faults)
    return content


def refuse_doubled_keys(paths: Iterable[Path | str]) -> None:
    """Refuse settings files in which a key stands twice in one mapping: the first one's value would be lost.

    Raises:
        SettingsError: naming the key and both lines.
    """
    for path in paths:
        read_settings(path)


def _doubled(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(getattr(key, "value", "")), key.start_mark.line + 1
            if name in lines and name != "<<":
                where = ".".join((*path, name))
                yield (
                    f"{where}: stands in line {lines[name]} and again in line {line}; YAML keeps the last "
                    "alone, so join them or rename one"
                )
            lines[name] = line
            yield from _doubled(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _doubled(item, (*path, str(number)))


def _code(content: dict) -> Iterator[str]:
    for key in _RUNS_CODE:
        if key in content:
            yield f"{key}: settings are data, and this key runs code of the file; remove it"
