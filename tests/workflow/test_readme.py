"""What the README says is so."""

import importlib.util
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_the_dag():
    assert load(ROOT / "docs" / "draw_dag.py").picture() in README, "run python docs/draw_dag.py"


def test_the_stage_table_has_every_rule():
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    table = README.split("| rule | makes |")[1].split("\n\n")[0]
    assert set(
        re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    ) >= scripts - {"record_settings"} - {"report"}


def test_the_losses_of_the_table_are_valid_settings():
    from longspan.weighting import weighting_from_settings

    losses = re.findall(r"\| `(\{variant: .*?\})` \|", README)
    assert len(losses) == 6
    for loss in losses:
        weighting_from_settings(yaml.safe_load(loss))


def test_the_methods_of_selection_are_those_of_the_table():
    from longspan.selection import METHODS
    from longspan_workflow.settings import SCHEMA_PATH

    schema = yaml.safe_load(SCHEMA_PATH.read_text())["properties"]["selections"]["additionalProperties"]
    assert tuple(re.findall(r"`\{method: (\w+)", README)) == METHODS
    assert tuple(branch["properties"]["method"]["const"] for branch in schema["oneOf"]) == METHODS


def test_the_public_functions_are_there():
    names = re.findall(r"`(longspan\.\w+)\.(\w+)`((?:, `\w+`)*)", (ROOT / "docs" / "api.md").read_text())
    assert names
    for module, first, others in names:
        for name in [first, *re.findall(r"`(\w+)`", others)]:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
