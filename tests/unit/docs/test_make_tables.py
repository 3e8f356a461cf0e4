"""The generated parts of the docs are those that the code gives now."""

import importlib.util
import sys
from pathlib import Path

from longspan.selection.method import SELECTION_METHODS

ROOT = Path(__file__).parents[3]


def load_make_tables():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_current():
    make_tables = load_make_tables()
    pages = make_tables.pages()
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run {sys.executable} docs/make_tables.py"
    written = "".join(pages.values())
    for name in make_tables.PARTS:
        assert f"<!-- made by docs/make_tables.py: {name} -->" in written


def test_every_method_and_option_stands_in_the_tables():
    text = load_make_tables().selection_methods()
    for name in SELECTION_METHODS.names():
        assert f"### `{name}`" in text
    assert "| `alpha` | number ≥ 0 | `0.5` | Weight of uniformity against strength (α). |" in text
