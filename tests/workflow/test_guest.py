"""In another workflow, and out of a wheel: longspan's rules beside rules of one's own."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from checkouts import clone
from tiny_inputs import make_inputs

ROOT = Path(__file__).parents[2]
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
# Data alone: no model is trained, so that this is quick.
DATA = {key: value for key, value in TINY.items() if key not in ("runs", "losses", "report")}
HOST = """
import gc, os

configfile: "config.yaml"

def state():
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), dict(os.environ)

BEFORE = state()

module longspan:
    snakefile: {snakefile!r}
    config: config
    prefix: "there"

use rule * from longspan as longspan_*

assert state() == BEFORE

rule all:
    default_target: True
    input: rules.longspan_all.input, "own/{{anything}}.txt".format(anything="Not a name")

# A wildcard that is longspan's too, with a value that is none of its names.
rule own:
    input: "there/results/summary.txt"
    output: "own/{{model}}.txt"
    shell: 'printf "%s %s %s" "$HF_TOKEN" "${{{{SCRIPTS:-none}}}}" "${{{{PYTHONPATH:-none}}}}" > {{output:q}}'
"""


def snakemake(folder, *arguments, **environment):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 500}
    result = subprocess.run(command, cwd=folder, env=environment, **streams)
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def test_a_host_uses_the_rules_under_a_prefix_and_keeps_its_own_shell(tmp_path):
    make_inputs(tmp_path / "inputs")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(DATA))
    snakefile = str(ROOT / "workflow" / "Snakefile")
    (tmp_path / "Snakefile").write_text(HOST.format(snakefile=snakefile))
    snakemake(tmp_path, HF_TOKEN="secret", HF_HUB_OFFLINE="1")
    assert (tmp_path / "own" / "Not a name.txt").read_text() == "secret none none"
    assert not (tmp_path / "results").exists()
    assert (tmp_path / "there/results/exports/kept/README.md").is_file()
    assert "kept" in (tmp_path / "there/results/summary.txt").read_text()
    again = snakemake(tmp_path, "-n", HF_TOKEN="secret", HF_HUB_OFFLINE="1")
    assert "Nothing to be done" in again


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """What a wheel installs, in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    clone(folder / "checkout")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    built = subprocess.run(command, cwd=folder / "checkout", capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr[-500:]}")
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_a_wheel_writes_a_project_that_runs(wheel, tmp_path):
    environment = {"PYTHONPATH": str(wheel), "HF_HUB_OFFLINE": "1"}

    def longspan(*arguments):
        command = [sys.executable, "-m", "longspan_workflow", *arguments]
        streams = {"capture_output": True, "text": True, "env": os.environ | environment}
        return subprocess.run(command, cwd=tmp_path, check=True, **streams).stdout

    longspan("init", "project")
    project = tmp_path / "project"
    assert "no fault" in longspan("check", "project/config.yaml")
    for arguments in ((), ("--profile", "slurm")):
        shown = snakemake(project, "-n", *arguments, "all", **environment)
        assert "score_short" in shown
    make_inputs(project / "inputs")
    (project / "config.yaml").write_text(yaml.safe_dump(DATA))
    target = "results/windows/short-128/00000.parquet"
    snakemake(project, target, **environment)
    explained = subprocess.run(
        [sys.executable, "-m", "longspan_workflow", "explain", "short-00000_0000001"],
        **{"cwd": project, "env": os.environ | environment, "capture_output": True, "text": True},
    )
    assert "data_id: short-00000_0000001" in explained.stdout, explained.stderr


def test_every_package_is_in_the_wheel():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(ROOT / "workflow").parts)
        for path in (ROOT / "workflow").glob("longspan*/**/__init__.py")
    }
    assert set(settings["packages"]) == found | {"longspan_workflow.project"}
