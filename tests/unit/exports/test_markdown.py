"""Text of settings and corpora in Markdown is shown as it is."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.exports.markdown import as_yaml, fenced, plain, table, without_folders

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@given(TEXT)
def test_a_line_stays_one_and_ends_no_cell(text):
    cell = plain(text)
    assert len(cell.splitlines()) <= 1
    assert table(("a", "b"), [(cell, "x")]).replace("\\\\", "").replace("\\|", "").count("|") == 9


HOSTILE = st.text(st.sampled_from("ab1 .)-+=#*_~`<>&|\\[]()!$\"':/\n\té日"), max_size=40)


@settings(deadline=None)  # the reader is imported in it
@given(HOSTILE)
def test_a_reader_of_markdown_shows_the_text_itself(text):
    """As a paragraph, a heading and a cell."""
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    shown = " ".join(text.split())
    for document in (plain(text), f"# {plain(text)}", table(["a"], [[plain(text)]])):
        lines = [token for token in reader.parse(document) if token.type == "inline"]
        if shown:
            children = lines[-1].children
            assert "".join(child.content for child in children) == shown
            assert {child.type for child in children} <= {"text", "text_special"}


@given(st.recursive(TEXT, lambda values: st.lists(values) | st.dictionaries(TEXT, values), max_leaves=8))
def test_yaml_comes_back_and_has_no_line_that_ends_it(values):
    text = as_yaml({"values": values})
    assert yaml.safe_load(text) == {"values": values}
    assert not any(line.startswith(("---", "...")) for line in text.splitlines())


@given(TEXT)
def test_a_fence_is_longer_than_any_in_it(text):
    lines = fenced(text, "yaml").split("\n")
    assert lines[-1] not in lines[1:-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CC0-1.0 (a, b)", "CC0-1.0 (a, b)"),
        ("snake_case_name", "snake_case_name"),
        ("_emphasis_ *.txt", r"\_emphasis\_ \*.txt"),
        ("a|b\n# c", r"a\|b \# c"),
        ("1. a", r"1\. a"),
        ("- a", r"\- a"),
        ("=", r"\="),
        ("CC-BY-4.0 1.5", "CC-BY-4.0 1.5"),
        ("$x$", r"\$x\$"),
        ("\x1b[31mred\u202e", r"U+001B\[31mredU+202E"),
    ],
)
def test_what_would_be_markup_is_escaped(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/data/me/books", "books"),
        ("/data/me/books/", "books"),
        ("/data/me/*/a.txt", "*/a.txt"),
        ("~/books/a.jsonl", "a.jsonl"),
        ("file:///data/me/a.jsonl", "a.jsonl"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("inputs/prose/*.txt", "inputs/prose/*.txt"),
        ("owner/name", "owner/name"),
        ("a text about /data/me", "a text about /data/me"),
    ],
)
def test_of_an_absolute_path_its_name_is_left(text, left):
    assert without_folders({"a": [text, 1, None]}) == {"a": [left, 1, None]}
