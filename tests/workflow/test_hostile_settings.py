"""Settings whose texts are hostile to shells, formats and markup, and larger than an argument can be."""

import html
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tiny_inputs import make_model

# What shells, Snakemake, Jinja, tables, Markdown and RST would make something of.
ODD = 'it\'s "50%" %s {x} {{ 7*7 }} ${HOME} $(touch pwned) `touch pwned` a|b \\n \\\\ <b>é日本</b> --x & ; #'
RAW = ".. raw:: html\n\n   <script>alert(1)</script>\n\n.. include:: /etc/passwd\n\n" + ODD
FOLDER = 'it\'s 100% "re\\sults" [1]* é'
FILE = 'in puts/it\'s "50%" $HOME %s `a` \\ [a]* é 日本.txt'
NAMES = 20_000
ARGUMENT_BYTES = 128 * 1024  # that Linux lets one argument have


def settings() -> dict:
    rows = {"kind": "files", "paths": ["rows.jsonl"], "title_column": "name"}
    return {
        "results_dir": FOLDER,
        "models": {
            "tiny": {
                "source": {"kind": "folder", "path": "mo del [1]"},
                "license": ODD,
                "max_position_embeddings": 512,
            }
        },
        "corpora": {
            "odd": {
                "shards": 1,
                "drop_duplicates": False,
                "sources": [
                    {"kind": "files", "paths": [FILE], "category": ODD, "license": ODD},
                    rows
                    | {
                        "category": "$x_{$ rows",
                        "license": "- [x](javascript:y)",
                        "hold_out": [title(number) for number in range(NAMES)] + [ODD],
                    },
                ],
            }
        },
        "windowings": {
            "short": {"corpus": "odd", "tokenizer": "tiny", "window_tokens": 64, "policy": "stride"}
        },
        "selections": {
            "half": {
                "windowing": "short",
                "method": "random",
                "keep": {"per_category": {ODD: {"windows": 2}, "$x_{$ rows": {"ratio": 1}}},
            }
        },
        "exports": {"kept": {"selection": "half", "format": "jsonl"}},
        "report": {"title": RAW},
    }


def title(number: int) -> str:
    return f"work {{{number}}} 作品"


def make_texts(folder: Path) -> None:
    text = " ".join(f"the house by the sea {number}," for number in range(200))
    make_model(folder / "mo del [1]", [text])
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_text(text)
    rows = [{"name": title(number), "text": f"held out {number}"} for number in range(NAMES)]
    rows += [{"name": ODD, "text": text[:900] + "odd"}, {"name": "other", "text": text[900:1900]}]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(checkout_workflow):
    """A project under hostile settings that ran to its end, in a checkout of its own."""
    folder = checkout_workflow.folder
    make_texts(folder)
    configfile = folder / "own.yaml"
    configfile.write_text(yaml.safe_dump(settings(), allow_unicode=True), encoding="utf-8")
    project = type(checkout_workflow)(folder, configfile, root=folder)
    project.run()
    return project


def results(project) -> Path:
    return project.folder / FOLDER


def test_settings_larger_than_an_argument_reach_the_jobs(finished):
    given = results(finished) / "logs/plan_shards/odd.log.settings.json"
    assert given.stat().st_size > 4 * ARGUMENT_BYTES
    held_out = pq.read_table(results(finished) / "corpora/odd/documents/held_out.parquet")
    assert held_out.column("title").to_pylist() == settings()["corpora"]["odd"]["sources"][1]["hold_out"]


def test_texts_of_the_settings_arrive_as_they_are(finished):
    assert not list(finished.folder.rglob("pwned"))
    with (results(finished) / "exports/kept/data/00000.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    by_category = {row["category"]: row for row in rows}
    assert by_category.keys() == {ODD, "$x_{$ rows"}
    assert sum(row["category"] == ODD for row in rows) == 2
    assert by_category[ODD]["license"] == ODD
    assert by_category[ODD]["source"] == FILE
    assert by_category["$x_{$ rows"]["title"] == "other"
    recorded = yaml.safe_load((results(finished) / "settings.yaml").read_text(encoding="utf-8"))
    assert recorded["report"]["title"] == RAW


def test_a_card_shows_them_as_text(finished):
    markdown_it = pytest.importorskip("markdown_it")
    card = (results(finished) / "exports/kept/README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["pretty_name"] == "kept"
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(body)
    assert not [token for token in tokens if token.type == "html_block"]
    cells = [token for token in tokens if token.type == "inline"]
    inside = {child.type for token in cells for child in token.children}
    assert inside <= {"text", "text_special", "code_inline"}
    shown = {"".join(child.content for child in token.children) for token in cells}
    assert {ODD, FILE, "$x_{$ rows", "- [x](javascript:y)"} <= shown


def test_the_report_shows_its_title_and_runs_nothing(finished):
    page = (results(finished) / "report-snakemake.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert "root:x:0" not in page
    found = re.search(r'<h1 class=\\"title\\">(.*?)</h1>', page)
    assert found is not None
    assert html.unescape(json.loads(f'"{found[1]}"')) == " ".join(RAW.split())


def test_a_project_that_was_moved_runs_nothing_again(finished):
    folder = finished.folder.with_name("moved")
    shutil.move(finished.folder, folder)
    try:
        moved = type(finished)(folder, folder / "own.yaml", root=folder)
        assert moved.jobs() == {}
    finally:
        shutil.move(folder, finished.folder)
