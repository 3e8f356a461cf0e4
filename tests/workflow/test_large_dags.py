"""What keeps large DAGs quick takes effect under the Snakemake that is installed, and changes no job."""

import json
import subprocess
import sys

import pytest

# Runs Snakemake, and says at its end what was left of the garbage collection and of the rules' functions.
PROGRAM = """
import atexit, gc, json, sys
from snakemake.cli import main
from snakemake.common import FUNC_OVERWRITE_PARAMS_ATTR
from snakemake.jobs import Job
from snakemake.resources import Resource
from snakemake.workflow import Workflow

build = Workflow._build_dag

def build_and_look(self):
    build(self)
    functions = [
        *(value for rule in self.rules for value in (*rule.input, *rule.params) if callable(value)),
        *(resource._evaluator for rule in self.rules for resource in rule.resources.values()),
        Resource.evaluate,
    ]
    state.update(
        inspected=[str(each) for each in functions if each and not hasattr(each, FUNC_OVERWRITE_PARAMS_ATTR)],
        wrapping=[rule.name for rule in self.rules if rule.input_modifier is not None],
        formats_once=hasattr(Job.shellcmd.fget, "cache_info"),
        collects=gc.isenabled(),
    )

def tell():
    state.update(collects_later=gc.isenabled(), frozen=gc.get_freeze_count() > 0)
    print("STATE", json.dumps(state))

state = {}
atexit.register(tell)
Workflow._build_dag = build_and_look
main(sys.argv[1:])
"""


def state_after(workflow, *arguments: str) -> dict:
    command = [sys.executable, "-c", PROGRAM, "--snakefile", str(workflow.root / "Snakefile")]
    command += ["--directory", str(workflow.folder), "--configfile", str(workflow.configfile), "--cores", "2"]
    result = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.split("STATE ")[1])


@pytest.mark.parametrize("is_dry", [True, False])
def test_snakemake_is_spared_what_it_would_do_again_and_again(workflow, is_dry):
    assert state_after(workflow, *["-n"] * is_dry, "results/settings.yaml") == {
        "inspected": [],
        "wrapping": ["all"],  # it comes after the others, and has no function
        "formats_once": is_dry,
        "collects": False,
        "collects_later": not is_dry,
        "frozen": True,
    }


def test_a_dry_run_of_a_new_corpus_shows_the_jobs_of_the_run(workflow):
    expected = workflow.run("-n", "results/frozen_weights.done").stdout
    assert "checkpoint" not in expected
    run = workflow.run("results/frozen_weights.done").stdout
    assert "checkpoint plan_shards" in run
    assert workflow.job_counts(expected) == workflow.job_counts(run)
    assert run.count("Finished jobid") == sum(workflow.job_counts(run).values())
