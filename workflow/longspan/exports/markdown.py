"""Text of settings and corpora in Markdown: shown as it is, and never read as markup."""

import os
import re
import unicodedata
from collections.abc import Sequence

import yaml

_MARKUP = re.compile(r"([\\`*~|<>&\[\]#!$])|(?<![^\W_])(_)|(_)(?![^\W_])")
# What makes a line a list, or a heading of the one before it.
_BEGINNING = re.compile(r"\A(\d+(?=[.)](?: |\Z))|(?=[-+=]))")
_WILD = "*?["


def plain(text: str) -> str:
    """One line of text, whose markup is escaped.

    Line ends become spaces, and characters that are not seen (control, direction) their numbers.
    """
    line = " ".join(str(text).split())
    line = "".join(letter if _is_shown(letter) else f"U+{ord(letter):04X}" for letter in line)
    return _BEGINNING.sub(r"\1\\", _MARKUP.sub(lambda found: "\\" + found[0], line))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown of one line each."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fenced(content: str, language: str) -> str:
    """A block of code, whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if content.endswith("\n") else "\n"
    return f"{fence}{language}\n{content}{end}{fence}"


def as_yaml(values: object, *, sort_keys: bool = False) -> str:
    """Values as YAML that no reader takes apart at a line: line ends and odd characters are escapes."""
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=sort_keys, allow_unicode=True, width=110)
    # Text with such characters stands between double quotes, where escapes may.
    return "".join(
        letter if letter == "\n" or _is_shown(letter) else f"\\U{ord(letter):08x}" for letter in text
    )


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_odd = not all(map(_is_shown, text)) or text.startswith(("---", "..."))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_odd else None)


_Dumper.add_representer(str, _represent_text)


def _is_shown(letter: str) -> bool:
    # Control and format characters, surrogates, ends of lines and paragraphs.
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def without_folders(value: object) -> object:
    """The same values; of each absolute local path only its last name is left, or what its wild cards say.

    Where texts lie on somebody's machine is nobody else's business.
    """
    if isinstance(value, str):
        return _without_folder(value)
    if isinstance(value, dict):
        return {without_folders(key): without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    return value


def _without_folder(text: str) -> str:
    path = text.removeprefix("file://")
    if not os.path.isabs(path) and not re.match(r"~[^/]*/|[A-Za-z]:[\\/]|\\\\", path):
        return text
    parts = re.split(r"[\\/]+", path.rstrip("\\/"))
    first_wild = next((number for number, part in enumerate(parts) if set(_WILD) & set(part)), None)
    return "/".join(parts[-1:] if first_wild is None else parts[first_wild:]) or text
