"""Write the generated parts of the docs: rules, modules, plug-ins, and the picture of the default run.

    python docs/make_tables.py

A part stands between two comments, `<!-- made by docs/make_tables.py: NAME -->` and `<!-- end -->`; what is
around it is written by hand.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from longspan.corpora.source import SOURCE_KINDS
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins.options import Options, is_absent
from longspan.plugins.registry import PlugIn, PlugInKind
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.weighting.variant import LOSS_VARIANTS, Loss, LossParts

ROOT = Path(__file__).parents[1]
PACKAGES = ("longspan", "longspan_workflow")
_PART = re.compile(r"(<!-- made by docs/make_tables\.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


# Rules


def rules() -> str:
    """Every rule with its docstring, by its file."""
    sections = []
    snakefile = ROOT / "workflow" / "Snakefile"
    included = re.findall(r'^include: "(.*)"', snakefile.read_text(), re.MULTILINE)
    for path in (snakefile.parent / name for name in included):
        rows = [(f"`{name}`", text) for name, text in _rules_of(path)]
        if rows:
            heading = _docstring(path.read_text()).partition("\n")[0]
            sections.append(f"### {path.stem}\n\n{heading}\n\n{_table(('rule', 'what it makes'), rows)}")
    return "\n\n".join(sections)


def _rules_of(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text()
    yield from re.findall(r'^(?:rule|checkpoint) (\w+):\n    """(.*?)"""', text, re.MULTILINE | re.DOTALL)
    if "name:\n            KIND.rule" in text:
        for kind in SCORER_KINDS:
            yield kind.rule, kind.description()


def picture() -> str:
    """The rules of config.yaml, and which needs which, as a Mermaid flow chart."""
    command = [
        "snakemake",
        "--configfile=config.yaml",
        "--rulegraph",
        "mermaid-js",
        "--quiet",
        "all",
        "--",
        "all",
    ]
    graph = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", graph))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", graph)}
    needed = {(a, b) for a, b in edges if not _reaches(edges - {(a, b)}, a, b)}
    lines = [f"    {first} --> {last}" for first, last in sorted(needed)]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def _reaches(edges: set[tuple[str, str]], first: str, last: str) -> bool:
    found, queue = {first}, [first]
    while queue:
        here = queue.pop()
        for after in {b for a, b in edges if a == here} - found:
            found.add(after)
            queue.append(after)
    return last in found


# Modules


def modules() -> str:
    """Every room of both packages with its modules and their first lines."""
    sections = []
    for package in PACKAGES:
        for room in _rooms(ROOT / "workflow" / package):
            title = ".".join(room.relative_to(ROOT / "workflow").parts)
            files = sorted(path for path in room.glob("*.py") if path.name != "__init__.py")
            rows = [(f"`{path.stem}`", _docstring(path.read_text()).partition("\n")[0]) for path in files]
            about = _docstring((room / "__init__.py").read_text())
            parts = [f"### {title}", about, _table(("module", "what it holds"), rows) if rows else ""]
            sections += filter(None, parts)
    return "\n\n".join(sections)


def _rooms(folder: Path) -> Iterator[Path]:
    yield folder
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield from _rooms(path)


def _docstring(text: str) -> str:
    if text.lstrip().startswith('"""'):
        return text.lstrip().split('"""')[1].strip()
    return (ast.get_docstring(ast.parse(text)) or "").replace(":mod:", "")


# Plug-ins


def selection_methods() -> str:
    """Built-in selection methods."""
    return _members(
        SELECTION_METHODS, lambda member: {"score": member.label, "looks at": _needs(member.needs)}
    )


def scorer_kinds() -> str:
    """Built-in scorer kinds."""
    return _members(SCORER_KINDS, lambda member: {"rule": f"`{member.rule}`", "table": f"`{member.table}`"})


def source_kinds() -> str:
    """Built-in source kinds."""
    return _members(SOURCE_KINDS, lambda member: {"fetched": "yes" if member.is_fetched else "no"})


def loss_variants() -> str:
    """Built-in loss variants, the parts of a loss, and what all of them have."""
    variants = _members(LOSS_VARIANTS, lambda member: {"name": member.label}, shared=Loss)
    parts = f"### Without `variant`\n\nA loss by its parts.\n\n{_options(LossParts, shared=Loss)}"
    return f"{variants}\n\n{parts}\n\n### Of every loss\n\n{_options(Loss)}"


def evaluation_tasks() -> str:
    """Built-in evaluation tasks."""
    return _members(EVALUATION_TASKS, lambda member: {"measures": member.label, "table": f"`{member.table}`"})


def _members(
    kind: PlugInKind, facts: Callable[[type[PlugIn]], dict[str, str]], shared: type[Options] = Options
) -> str:
    package = kind.package + "."
    sections = []
    # Those of other packages are not of this project's docs.
    for member in (found for found in kind if found.__module__.startswith(package)):
        sections += [f"### `{member.name}`", member.description()]
        lines = [f"{name}: {value}" for name, value in facts(member).items()]
        if cited := re.findall(r"@\w+\{(\w+),", "\n".join(member.citations)):
            lines.append(f"cites: {', '.join(f'`{key}`' for key in cited)}")
        sections += ["; ".join(lines) + "."]
        if member.model_fields.keys() - shared.model_fields.keys():
            sections.append(_options(member, shared))
    return "\n\n".join(sections)


def _needs(needs: Any) -> str:
    parts = [name for name in ("documents", "tokens") if getattr(needs, name)]
    if needs.scorer:
        columns = ", ".join(f"`{column}`" for column in needs.columns)
        parts.append(f"{columns} of a scorer of kind `{needs.scorer}`")
    return ", ".join(parts) or "ids alone"


def _options(block: type[Options], shared: type[Options] = Options) -> str:
    rows = []
    for name, field in block.model_fields.items():
        if name in shared.model_fields:
            continue
        if field.is_required():
            default = "required"
        else:
            default = "not set" if is_absent(field) else f"`{_yaml(field.default)}`"
        rows.append((f"`{field.alias or name}`", _type(block, name), default, field.description))
    return _table(("option", "type", "default", "meaning"), rows)


def _type(block: Any, name: str) -> str:
    schema = block.model_json_schema(by_alias=True)["properties"]
    return _type_of(schema[block.model_fields[name].alias or name])


def _type_of(schema: dict) -> str:
    if "anyOf" in schema:
        branches = [_type_of(branch) for branch in schema["anyOf"]]
        if branches[:2] == ["integer", "number"]:
            branches = branches[1:]
        return " or ".join(branch for branch in branches if branch) + _bounds(schema)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema['items'])}s"
    return schema.get("type", "").replace("string", "text") + _bounds(schema)


def _bounds(schema: dict) -> str:
    # Of a union of numbers pydantic leaves its own names.
    signs = {">": ("exclusiveMinimum", "gt"), "≥": ("minimum", "ge"), "<": ("exclusiveMaximum", "lt")}
    signs |= {"≤": ("maximum", "le")}
    bounds = [f"{sign} {schema[key]:g}" for sign, keys in signs.items() for key in keys if key in schema]
    return f" {', '.join(bounds)}" if bounds else ""


def _yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


# Pages


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header)]
    lines += [["---"] * len(lines[0]), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines)


PARTS = {
    make.__name__: make
    for make in (
        rules,
        picture,
        modules,
        selection_methods,
        scorer_kinds,
        source_kinds,
        loss_variants,
        evaluation_tasks,
    )
}


def pages() -> dict[Path, str]:
    """Pages with generated parts, as they should be."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    texts = {path: path.read_text() for path in paths if _PART.search(path.read_text())}
    return {
        path: _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)
        for path, text in texts.items()
    }


if __name__ == "__main__":
    for path, text in pages().items():
        if path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(ROOT))
