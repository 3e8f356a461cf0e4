"""Which room may import which: no circle, and no arrow that is not drawn here."""

import ast
from pathlib import Path

WORKFLOW = Path(__file__).parents[2] / "workflow"

# A room of longspan and those below it that it may import.
LIBRARY = {
    "store": set(),
    "process": set(),
    "plugins": {"store"},
    "costs": set(),
    "fetching": {"store"},
    "tokens": {"store"},
    "corpora": {"fetching", "plugins", "store"},
    "models": {"fetching", "process", "store", "tokens"},
    "windows": {"store", "tokens"},
    "scoring": {"costs", "models", "plugins", "process", "store", "tokens", "windows"},
    "selection": {"plugins", "scoring", "store", "windows"},
    "weighting": {"models", "plugins", "scoring"},
    "evaluation": {"costs", "plugins", "scoring", "store", "tokens", "windows"},
    "exports": {"scoring", "store", "weighting", "windows"},
    "reporting": {
        "evaluation",
        "exports",
        "plugins",
        "scoring",
        "selection",
        "store",
        "weighting",
        "windows",
    },
    "training": {
        "costs",
        "evaluation",
        "exports",
        "models",
        "process",
        "scoring",
        "store",
        "weighting",
        "windows",
    },
}
# A room of longspan_workflow and those of its own package that it may import.
WORKFLOW_ROOMS = {
    "running": set(),
    "settings": {"running"},
    "wiring": {"running", "settings"},
    "requests": {"settings", "wiring"},
    "commands": {"running", "settings", "wiring"},
}


def imported(path: Path) -> set[str]:
    """Modules of the project that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.partition(".")[0] in ("longspan", "longspan_workflow")}


def arrows(package: str) -> dict[str, set[str]]:
    """Rooms that each room of a package imports, with the package's name."""
    found: dict[str, set[str]] = {}
    for path in (WORKFLOW / package).rglob("*.py"):
        room = path.relative_to(WORKFLOW / package).parts[0].removesuffix(".py")
        names = {".".join(name.split(".")[:2]) for name in imported(path)}
        found.setdefault(room, set()).update(names - {f"{package}.{room}"})
    return found


def test_every_room_of_the_library_imports_what_it_may():
    found = {room: names for room, names in arrows("longspan").items() if room != "__init__"}
    assert found.keys() == LIBRARY.keys()
    for room, names in found.items():
        assert names <= {f"longspan.{other}" for other in LIBRARY[room]}, room


def test_every_room_of_the_workflow_imports_what_it_may():
    found = {room: names for room, names in arrows("longspan_workflow").items() if not room.startswith("__")}
    assert found.keys() == WORKFLOW_ROOMS.keys()
    for room, names in found.items():
        own = {name for name in names if name.startswith("longspan_workflow.")}
        assert own <= {f"longspan_workflow.{other}" for other in WORKFLOW_ROOMS[room]}, room


def test_no_room_is_above_itself():
    for rooms in (LIBRARY, WORKFLOW_ROOMS):
        below = {room: set(names) for room, names in rooms.items()}
        for _ in rooms:
            below = {
                room: names | {far for name in names for far in below[name]} for room, names in below.items()
            }
        assert all(room not in names for room, names in below.items())


def test_what_jobs_import_is_no_part_of_the_workflow():
    # The estimate is asked before any job runs, of the settings themselves.
    for path in (WORKFLOW / "scripts").glob("*.py"):
        if path.stem != "estimate":
            assert not any(name.startswith("longspan_workflow") for name in imported(path)), path.name


def test_every_room_says_what_it_holds():
    for path in WORKFLOW.glob("longspan*/**/__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert len(tree.body) == 1, (
            f"{path}: digests of the code follow imports, so nothing else may stand here"
        )
