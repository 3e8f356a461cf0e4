import os
import unicodedata
from collections import Counter

import pytest

from longspan.corpora.items import list_items
from longspan.corpora.raw_paths import passed_over, raw_paths
from other_user import without_rights
from refusals import refused

READABLE = (
    ".txt, .jsonl, .parquet, each also with .gz or .zst behind it, and .json.gz and .json.zst (JSON lines)"
)
SOURCE = {"text_column": "text", "encoding": "utf-8", "boilerplate": "none", "category": "c", "license": "l"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names):
    for name in names:
        if folder := os.path.dirname(name):
            os.makedirs(folder, exist_ok=True)
        with open(name, "w") as file:
            file.write("text")


def test_a_path_that_exists_is_a_path_before_it_is_a_pattern(folder):
    write("report[1].txt", "report1.txt", "run[1]/a.txt", "run1/a.txt", "f*?.txt", "fab.txt")
    assert raw_paths(["report[1].txt", "run[1]", "f*?.txt"]) == ["report[1].txt", "run[1]/a.txt", "f*?.txt"]
    assert raw_paths(["report[12].txt", "f*.txt"]) == ["report1.txt", "f*?.txt", "fab.txt"]
    assert raw_paths(["none[1].txt"]) == ["none[1].txt"]


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_found_in_either_normal_form(folder, there, asked):
    name = "é/ü.txt"
    write(unicodedata.normalize(there, name))
    found = [unicodedata.normalize(there, name)]
    assert raw_paths([unicodedata.normalize(asked, name)]) == found
    absolute = str(folder / unicodedata.normalize(asked, name))
    assert raw_paths([absolute]) == [str(folder / found[0])]
    assert raw_paths([unicodedata.normalize(asked, "é/none.txt")]) == [
        unicodedata.normalize(asked, "é/none.txt")
    ]


def test_hidden_entries_are_passed_over_and_all_that_is_not_read_is_counted(folder):
    write("t/a.txt", "t/.git/annex/b.txt", "t/.ipynb_checkpoints/c.txt", "t/._a.txt", "t/deep/d.jsonl.gz")
    write("t/x.epub", "t/y.epub", "t/z.tar.gz", "t/README", "t/deep/e.json", "t/f.json.gz")
    os.symlink("deep", "t/link")
    assert raw_paths(["t"]) == ["t/a.txt", "t/deep/d.jsonl.gz", "t/f.json.gz"]
    others = {
        ".epub": 2,
        ".tar.gz": 1,
        "without an ending": 1,
        ".json": 1,
        "hidden": 3,
        "link to a folder": 1,
    }
    assert passed_over(["t", "t/a.txt"]) == {"t": Counter(others)}
    assert passed_over(["t/deep/d.jsonl.gz"]) == {}


def test_a_folder_with_nothing_to_read_says_what_it_holds(folder):
    write("t/x.epub", "t/y.epub", "t/.z")
    assert raw_paths(["t"]) == ["t"]
    with refused(
        f"t holds no file that is read, but 2 .epub, 1 hidden; readable are {READABLE}, and any that a "
        "pattern such as t/*.md names with format set"
    ):
        list_items(SOURCE | {"hold_out": []}, ["t"])


@pytest.mark.parametrize("name", ["{1}", "{shard}", "{ a }", r"{a,\d+}"])
def test_a_name_that_snakemake_takes_for_a_wildcard_is_named(folder, name):
    write(f"t/b {name}.txt", "t/a.txt")
    with refused(
        f"the name of {f't/b {name}.txt'!r} has the braces {name}, which Snakemake takes for a wildcard; "
        "rename it"
    ):
        raw_paths(["t"])
    write("u/{a b}.txt", "u/{.txt", "u/}{.txt")
    assert len(raw_paths(["u"])) == 3


def test_a_name_that_is_no_text_is_named(folder):
    os.mkdir("t")
    with open(b"t/caf\xe9.txt", "w") as file:
        file.write("text")
    with refused(
        r"the name of 't/caf\udce9.txt' has bytes that are not UTF-8; rename the file, since its name "
        "becomes the document's id"
    ):
        raw_paths(["t"])


def test_a_folder_without_permission_is_named_and_not_passed_over(folder):
    write("t/a.txt", "t/closed/b.txt")
    with (
        without_rights("t/closed"),
        refused(
            "the folder t/closed cannot be read (Permission denied); give it the right to be read, or take "
            "it out of the corpus's sources"
        ),
    ):
        raw_paths(["t"])
    assert raw_paths(["t"]) == ["t/a.txt", "t/closed/b.txt"]
