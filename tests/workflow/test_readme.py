"""What the README says is so."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
import zstandard

from tiny_chain import RULES
from tiny_inputs import make_model

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
    table = README.split("| rule | makes |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))) >= set(
        RULES
    ) - {"record_settings"}


def test_the_losses_of_the_table_are_valid_settings():
    from longspan.weighting.variant import weighting_from_settings

    losses = re.findall(r"\| `(\{variant: .*?\})` \|", README)
    assert len(losses) == 6
    for loss in losses:
        weighting_from_settings(yaml.safe_load(loss))


def test_the_methods_of_selection_are_those_of_the_table():
    from longspan.selection.method import SELECTION_METHODS
    from longspan_workflow.settings.blocks import SELECTIONS

    assert sorted(re.findall(r"`\{method: (\w+)", README)) == SELECTION_METHODS.names() == list(SELECTIONS)


def test_the_public_functions_are_there():
    names = re.findall(r"`(longspan(?:\.\w+)+)\.(\w+)`((?:, `\w+`)*)", (ROOT / "docs" / "api.md").read_text())
    assert len(names) > 12
    for module, first, others in names:
        for name in [first, *re.findall(r"`(\w+)`", others)]:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_the_walk_leads_from_three_sources_to_a_dataset(tmp_path):
    walk = README.split("### From your own texts")[1]
    settings, commands, program = (
        re.search(rf"```{kind}\n(.*?)```", walk, re.DOTALL)[1] for kind in ("yaml", "sh", "python")
    )
    (tmp_path / "mine.yaml").write_text(settings)
    write_walk_inputs(tmp_path)
    command = shlex.split(commands)
    assert command[0] == "snakemake"
    command = [sys.executable, "-m", *command, "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 500}
    result = subprocess.run(command, cwd=tmp_path, env=environment, **streams)
    assert result.returncode == 0, result.stdout[-4000:]
    program += "print(sorted(set(mine['category'])), len(mine), {len(ids) for ids in mine['input_ids']})"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, **streams)
    assert result.stdout.splitlines()[-1] == "['article', 'book', 'code'] 9 {2048}", result.stdout
    assert "code" in (tmp_path / "results/summary.txt").read_text()


def write_walk_inputs(folder):
    """What the walk's settings name: two long documents for each category, and a tiny model."""
    texts = {
        kind: [" ".join(f"{kind} {number} word {place}." for place in range(1200)) for number in range(2)]
        for kind in ("book", "article", "code")
    }
    (folder / "books").mkdir()
    for number, text in enumerate(texts["book"]):
        (folder / "books" / f"{number}.txt").write_text(text)
    (folder / "articles").mkdir()
    lines = [json.dumps({"title": text[:9], "text": text}) + "\n" for text in texts["article"]]
    compressed = zstandard.ZstdCompressor().compress("".join(lines).encode())
    (folder / "articles" / "a.jsonl.zst").write_bytes(compressed)
    pq.write_table(pa.table({"content": texts["code"]}), folder / "code.parquet")
    make_model(folder / "model", [text for group in texts.values() for text in group])
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
