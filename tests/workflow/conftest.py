"""A checkout of its own for each module: the workflow on the tiny inputs, in a temporary folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkouts import clone
from tiny_inputs import make_inputs

ROOT = Path(__file__).parents[2]


class Workflow:
    """The project's Snakefile over a working folder."""

    def __init__(self, folder: Path, configfile: Path, root: Path = ROOT):
        self.folder = folder
        self.configfile = configfile
        self.root = root

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake; its output, both streams, is in `stdout`."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.root / "Snakefile")]
        command += ["--directory", str(self.folder), "--configfile", str(self.configfile), "--cores", "2"]
        result = subprocess.run(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert not check or result.returncode == 0, result.stdout[-6000:]
        return result

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry run would start, by rule."""
        return self.job_counts(self.run("-n", *arguments).stdout)

    @staticmethod
    def job_counts(output: str) -> dict[str, int]:
        """Jobs by rule, from the first table of them that Snakemake printed."""
        if "Nothing to be done" in output:
            return {}
        lines = output.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
        counts = {line.split()[0]: int(line.split()[1]) for line in lines if line.strip()}
        return {rule: count for rule, count in counts.items() if rule not in ("all", "total")}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    folder = tmp_path_factory.mktemp("workflow")
    make_inputs(folder / "inputs")
    configfile = folder / "config.yaml"
    shutil.copyfile(ROOT / "configs" / "tiny.yaml", configfile)
    return Workflow(folder, configfile)


@pytest.fixture(scope="module")
def checkout_workflow(tmp_path_factory) -> Workflow:
    """The workflow over the tiny inputs in a checkout of its own, whose code a test may edit."""
    folder = tmp_path_factory.mktemp("checkout")
    clone(folder)
    make_inputs(folder / "inputs")
    return Workflow(folder, folder / "configs" / "tiny.yaml", root=folder)
