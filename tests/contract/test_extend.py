"""The walks of docs/extend.md: a package with a plug-in of each kind, and a whole run with it."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tiny_inputs import make_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text()
TITLES = ("A tale", "Another tale", "The last tale")


def run(*command: str, cwd: Path, check: bool = True, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=os.environ | environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert not check or result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def write_package(folder: Path) -> dict[str, str]:
    """Write the page's files, and what pip would record of them; the environment that finds them."""
    for path, text in re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"my_longspan-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return {"PYTHONPATH": f"{folder}:{ROOT / 'workflow'}"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extend")
    return folder, write_package(folder)


@pytest.fixture
def served_tales(tmp_path):
    """A web server of one file of tales: its address, and the file."""
    file = tmp_path / "tales.jsonl"
    words = [" ".join(f"word {number} of {title}." for number in range(400)) for title in TITLES]
    rows = [json.dumps({"title": title, "text": text}) for title, text in zip(TITLES, words, strict=True)]
    file.write_text("\n".join(rows) + "\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", file
    server.shutdown()


def test_the_pages_own_tests_pass(package):
    folder, environment = package
    output = run("pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=folder, **environment)
    assert "7 passed" in output


def test_one_run_uses_all_five(package, served_tales):
    folder, environment = package
    address, file = served_tales
    settings = (folder / "mine.yaml").read_text()
    # The page's windows are for real models, these for a tiny one.
    smaller = {"2048": "128", "512": "32", "384": "24", "last_tokens: 128": "last_tokens: 16"}
    for old, new in smaller.items():
        assert old in settings
        settings = settings.replace(old, new)
    settings = settings.replace("https://example.org", address)
    settings = re.sub("sha256: .*", f"sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}", settings)
    (folder / "mine.yaml").write_text(settings)
    make_model(folder / "model", [json.loads(line)["text"] for line in file.read_text().splitlines()])
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))

    check, estimate, everything = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    program, *arguments = shlex.split(check)
    assert program == "longspan"
    assert "no fault" in run("longspan_workflow", *arguments, cwd=folder, **environment)
    (folder / "long.yaml").write_text(settings.replace("near_tokens: 32", "near_tokens: 112"))
    refused = run("longspan_workflow", "check", "long.yaml", cwd=folder, check=False, **environment)
    assert (
        "evaluations.far (of run 'tales'): near_tokens and last_tokens are 128, a window has 128; lower them"
        in refused
    )
    assert estimate.split()[:2] == everything.split()[:2]
    output = run(
        *shlex.split(everything),
        "estimate",
        f"--snakefile={ROOT / 'Snakefile'}",
        "--cores=2",
        cwd=folder,
        **environment,
    )

    results = folder / "results"
    summary = (results / "summary.txt").read_text()
    assert re.search(
        r"gain of far context +tales/gain/seed0 +-?\d+\.\d{4} → -?\d+\.\d{4} nats a token", summary
    )
    assert "sure, varied" in summary
    assert {
        "selections.svg",
        "trainings.svg",
        "evaluation-position_nll.svg",
        "evaluation-far.svg",
        "evaluation-lists.svg",
    } == {path.name for path in (results / "figures").iterdir()}
    assert "distinct n-grams (share)" in (results / "figures" / "selections.svg").read_text()
    entropies = pq.read_table(results / "scores/tales-2k/unsure/00000.parquet").column("entropy").to_pylist()
    assert entropies
    assert all(0 < entropy < 6 for entropy in entropies)
    assert address in (results / "exports/varied/README.md").read_text()
    assert "helm2025token" in (results / "runs/tales/gain/seed0/model/README.md").read_text()
    estimated = (results / "estimate.tsv").read_text()
    assert "score_entropy\ttales-2k/unsure" in estimated
    assert "evaluate\ttales/far" in estimated
    assert "make_task\tlists/mine" in estimated
    assert "lookup lookup, score" in summary
    assert "Traceback" not in output
