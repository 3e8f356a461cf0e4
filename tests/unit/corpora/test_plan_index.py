"""Index of a plan: when planning anew would change nothing."""

import json
import os
from pathlib import Path

import pytest

from longspan.corpora.plan_index import is_current, made_from, plan_digests, plan_index, raw_files

DIGESTS = {"00000": "one", "00001": "two"}
CODE = "code"


@pytest.fixture
def settings(tmp_path):
    """Settings of a folder of two texts and a file that a link names."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(name)
    (tmp_path / "target.txt").write_text("target")
    (tmp_path / "link.txt").symlink_to(tmp_path / "target.txt")
    paths = [[str(folder)], [str(tmp_path / "link.txt")]]
    return {"sources": [{"category": "prose", "paths": each} for each in paths], "shards": 2}


@pytest.fixture
def index(tmp_path, settings):
    """The index that was written after them."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_index(made_from(settings, raw_files(settings), CODE), DIGESTS)))
    return str(path)


def test_an_index_gives_the_digests_of_its_shards(index, tmp_path):
    assert plan_digests(index) == DIGESTS
    assert plan_digests(str(tmp_path / "none.json")) == {}


def test_a_plan_is_current_until_something_changes(index, settings):
    assert is_current(index, settings, CODE)
    assert not is_current(index, settings | {"shards": 3}, CODE)
    assert is_current(index, settings, CODE)


def test_without_an_index_nothing_is_planned(settings, tmp_path):
    assert not is_current(str(tmp_path / "none.json"), settings, CODE)


@pytest.mark.parametrize("change", ["newer", "added", "removed", "linked elsewhere", "newer behind a link"])
def test_a_raw_file_that_changes_asks_for_a_plan(index, settings, tmp_path, change):
    later = os.stat(index).st_mtime_ns + 10**9
    match change:
        case "newer":
            os.utime(tmp_path / "texts/b.txt", ns=(later, later))
        case "added":
            (tmp_path / "texts/c.txt").write_text("")
            os.utime(tmp_path / "texts/c.txt", ns=(0, 0))
        case "removed":
            (tmp_path / "texts/b.txt").unlink()
        case "linked elsewhere":
            (tmp_path / "link.txt").unlink()
            (tmp_path / "link.txt").symlink_to(tmp_path / "texts/a.txt")
            os.utime(tmp_path / "link.txt", ns=(later, later), follow_symlinks=False)
        case "newer behind a link":
            os.utime(tmp_path / "target.txt", ns=(later, later))
    assert not is_current(index, settings, CODE)


def test_a_missing_raw_file_asks_for_a_plan(index, settings, tmp_path):
    (tmp_path / "link.txt").unlink()
    assert not is_current(index, settings, CODE)


@pytest.mark.parametrize("content", ["", '{"made_from": "a', "[]", "\xff"])
def test_a_damaged_index_is_named(index, settings, content):
    Path(index).write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"plan\.json is no index of a plan .*; delete it"):
        is_current(index, settings, CODE)
    with pytest.raises(ValueError, match="no index"):
        plan_digests(index)


def test_other_code_asks_for_a_plan(index, settings):
    assert not is_current(index, settings, "other code")
