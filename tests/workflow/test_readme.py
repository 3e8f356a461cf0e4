"""What the README and the pages beside it say is so."""

import ast
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml
import zstandard
from pydantic import BaseModel

from longspan.corpora.source import SOURCE_KINDS
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.weighting.variant import LOSS_VARIANTS
from longspan_workflow.__main__ import main
from longspan_workflow.settings.blocks import SECTIONS, Ref, Settings
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.places import json_of
from longspan_workflow.wiring.wiring import Wiring
from tiny_inputs import make_model

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [path for pattern in ("*.md", "docs/**/*.md", "config/*.md") for path in ROOT.glob(pattern)]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_picture_has_an_arrow_for_each_name_that_a_block_uses():
    drawn = set()
    for line in README.split("```mermaid\nflowchart LR\n")[1].split("```")[0].splitlines():
        first, last = line.split("-->")
        drawn |= {(name.strip(), last.strip()) for name in first.split("&")}
    used = {
        (section, name)
        for name in SECTIONS
        for section in sections_named_in(Settings.model_fields[name].annotation)
    }
    assert drawn == used


def sections_named_in(annotation) -> set[str]:
    found = set()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            found |= {item.section for item in field.metadata if isinstance(item, Ref)}
            found |= sections_named_in(field.annotation)
    for item in getattr(annotation, "__metadata__", ()):
        found |= {item.section} if isinstance(item, Ref) else set()
    for part in typing.get_args(annotation):
        found |= sections_named_in(part)
    return found


def test_the_table_of_blocks_has_every_section():
    table = README.split("| block | what it says |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(SECTIONS)


def test_the_last_lines_are_those_that_the_default_settings_give():
    """Their numbers are the default run's own, which needs a network."""
    settings = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text()))
    # As the rule's command line gives them.
    summary = json.loads(json_of(Wiring(settings).reports.summary_settings()))
    named = [("documents", name) for name in summary["corpora"]]
    named += [(quantity, name) for name in summary["windowings"] for quantity in ("windows", "tokens")]
    named += [(f"mean {kind} NLL", name) for name in summary["stores"] for kind in ("short", "long")]
    named += [("windows kept", name) for name, *_ in summary["selections"]]
    named += [("rank correlation", name) for name in summary["comparisons"]]
    named += [("training loss", name) for name in summary["trainings"]]
    named += [("short context", name) for name in summary["exposures"]]
    named += [("held-out perplexity", evaluation["name"]) for evaluation in summary["evaluations"]]
    shown = README.split("ends like this:\n\n```\n")[1].split("```")[0]
    table, heading, last = shown.split("\n\n")
    rows = [tuple(re.split(r"  +", row)[:2]) for row in table.splitlines()]
    assert rows == named[-len(rows) :]
    assert len(rows) > 1
    *verdict, look_next = last.splitlines()
    # One paragraph for each training that is no control, and each evaluation.
    assert heading == "Verdict"
    assert "\n".join(verdict).startswith("classics/dense by position_nll: ")
    assert f'@echo "{look_next}"' in (ROOT / "Makefile").read_text()


def test_the_public_names_are_there():
    entries = re.findall(
        r"`(longspan(?:\.\w+)+)\.(\w+)`((?:, `\w+`)*)", (ROOT / "docs" / "api.md").read_text()
    )
    assert len(entries) > 10
    for module, first, others in entries:
        for name in [first, *re.findall(r"`(\w+)`", others)]:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_modules_and_files_that_the_pages_name_are_there():
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"`(longspan(?:_workflow)?(?:\.\w+)+)`", text):
            assert is_there(name), f"{page.relative_to(ROOT)}: {name}"
        for name in re.findall(r"`((?:workflow|benchmarks|tests|docs|configs|profiles)/[\w./-]+)`", text):
            # A page may itself hold the file of a walk.
            is_shown = f"`{name}`\n\n```" in text
            assert is_shown or (ROOT / name).exists(), f"{page.relative_to(ROOT)}: {name}"


def is_there(name: str) -> bool:
    path = ROOT / "workflow" / name.replace(".", "/")
    kinds = (SELECTION_METHODS, SCORER_KINDS, SOURCE_KINDS, LOSS_VARIANTS, EVALUATION_TASKS)
    is_group = name in {kind.group for kind in kinds}
    return is_group or path.is_dir() or path.with_suffix(".py").exists() or has_name(name)


def has_name(name: str) -> bool:
    module, _, last = name.rpartition(".")
    path = (ROOT / "workflow" / module.replace(".", "/")).with_suffix(".py")
    if not path.exists():
        return False
    nodes = ast.parse(path.read_text()).body
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return last in names | {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_index_links_every_page():
    links = set(re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs" / "index.md").read_text()))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").glob("**/*.md")}
    assert links == pages - {"index.md"}


def test_a_check_reads_a_file_with_code_in_it_as_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("__definitions__:\n  - open('it_ran', 'w')\n__use_yte__: true\n")
    with pytest.raises(SettingsError) as caught:
        main(["check", "mine.yaml"])
    for key in re.findall(r"`(__\w+__)`", README):
        assert f"mine.yaml: {key}: settings are data, and this key runs code" in str(caught.value)
    assert not (tmp_path / "it_ran").exists()


def test_the_walk_leads_from_books_and_a_model_to_a_trained_model_and_a_dataset(tmp_path):
    walk = README.split("## Your own books and model")[1]
    settings, commands, program = (
        re.search(rf"```{kind}\n(.*?)```", walk, re.DOTALL)[1] for kind in ("yaml", "sh", "python")
    )
    (tmp_path / "mine.yaml").write_text(settings)
    write_walk_inputs(tmp_path)
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 500}
    modules = {"longspan": ["longspan_workflow"]}
    modules["snakemake"] = ["snakemake", f"--snakefile={ROOT / 'Snakefile'}", "--cores=2"]
    outputs = []
    for line in commands.splitlines():
        name, *arguments = shlex.split(line)
        command = [sys.executable, "-m", *modules[name], *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=environment, **streams)
        assert result.returncode == 0, result.stdout[-4000:]
        outputs.append(result.stdout)
    assert outputs[0] == "mine.yaml: no fault\n"
    assert re.search(r"^train +mine/dense +1 ", outputs[1], re.MULTILINE)

    summary = (tmp_path / "results/summary.txt").read_text()
    assert re.search(
        r"^held-out perplexity +mine/dense/seed0 +\S+ → \S+ \(\d+ windows of 1 works\)", summary, re.M
    )
    assert (tmp_path / "results/report.html").exists()
    program += """
from transformers import AutoModelForCausalLM

AutoModelForCausalLM.from_pretrained("results/runs/mine/dense/seed0/model")
shapes = {(len(row["input_ids"]), len(row["loss_weights"])) for row in kept}
print(sorted(set(kept["category"])), shapes, kept[0]["data_id"])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, **streams)
    *_, last = result.stdout.splitlines()
    assert last.startswith("['article', 'book'] {(2048, 2048)} mine-0000"), result.stdout
    command = [
        sys.executable,
        "-m",
        "longspan_workflow",
        "explain",
        last.split()[-1],
        "--configfile=mine.yaml",
    ]
    result = subprocess.run(command, cwd=tmp_path, env=environment, **streams)
    assert "kept: true" in result.stdout, result.stdout


def write_walk_inputs(folder):
    """What the walk's settings name: a few long documents of each category, and a tiny model."""
    texts = {
        kind: [" ".join(f"{kind} {number} word {place}." for place in range(1200)) for number in range(3)]
        for kind in ("book", "article")
    }
    (folder / "books").mkdir()
    for name, text in zip(("one", "two", "the_last_book"), texts["book"], strict=True):
        (folder / "books" / f"{name}.txt").write_text(text)
    (folder / "articles").mkdir()
    lines = [json.dumps({"title": text[:9], "text": text}) + "\n" for text in texts["article"]]
    compressed = zstandard.ZstdCompressor().compress("".join(lines).encode())
    (folder / "articles" / "a.jsonl.zst").write_bytes(compressed)
    make_model(folder / "model", [text for group in texts.values() for text in group])
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
