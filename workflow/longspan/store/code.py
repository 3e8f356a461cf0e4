"""Digests and versions of the code, by which Snakemake knows what to run again.

Snakemake does not see an edit in a script that a shell command calls, nor in a module that it imports.
"""

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGES = Path(__file__).parents[2]  # the folder of longspan and longspan_workflow
LIBRARY = PACKAGES / "longspan"


@functools.cache
def code_digest(script: Path, *plug_ins: Path) -> str:
    """Sha256 over a script and the library modules that it imports, directly or through others.

    Args:
        script: the script.
        plug_ins: files of the plug-ins that it uses, which it imports by name.
    """
    digest = hashlib.sha256()
    for path in source_files(script, *plug_ins):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def source_files(script: Path, *plug_ins: Path) -> tuple[Path, ...]:
    """A script, plug-ins and the library modules that they import, at whatever depth, sorted."""
    found = {script, *plug_ins}
    queue = list(found)
    while queue:
        for path in imported_modules(queue.pop()) - found:
            found.add(path)
            queue.append(path)
    return tuple(sorted(found))


@functools.cache
def imported_modules(path: Path) -> frozenset[Path]:
    """Modules of this project that a file imports, inside functions too; none if it is not Python."""
    if path.suffix != ".py":
        return frozenset()
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    candidates = (
        PACKAGES / f"{name.replace('.', '/')}.py"
        for name in names
        if name.startswith(("longspan.", "longspan_workflow."))
    )
    return frozenset(path for path in candidates if path.exists())


@functools.cache
def stage_version(module: str) -> int:
    """The constant STAGE_VERSION of a module, read without importing it.

    Args:
        module: "room.module" of this library, or a module of another package that adds a plug-in.
    """
    path = LIBRARY / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = Path(importlib.util.find_spec(module).origin)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "STAGE_VERSION":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no STAGE_VERSION")
