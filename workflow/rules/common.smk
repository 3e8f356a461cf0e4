"""Settings, paths and the environment that the rules share."""

import sys
from pathlib import Path

# Where longspan is not installed, it is found beside the rules.
PACKAGES = Path(str(workflow.current_basedir)).parent
if str(PACKAGES) not in sys.path and (PACKAGES / "longspan_workflow").is_dir():
    sys.path.insert(0, str(PACKAGES))

from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.store.code import code_digest, stage_version
from longspan.weighting.variant import LOSS_VARIANTS, variant_files
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.running.environment import job_prelude
from longspan_workflow.running.launchers import training_launcher
from longspan_workflow.running.project import script
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.files import refuse_doubled_keys
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.places import alternatives, as_json
from longspan_workflow.wiring.wiring import Wiring

# In another workflow, as a module, the settings come from there, and Snakemake may put a prefix before paths.
IS_MODULE = not workflow.modifier.is_main_snakefile()
try:
    if not IS_MODULE:
        refuse_doubled_keys(workflow.configfiles)
    wiring = Wiring(
        load_settings(config), here=workflow.modifier.path_modifier.replace_prefix
    )
except SettingsError as error:
    faults = "\n  ".join(error.faults)
    raise WorkflowError(f"Fault in the settings: {faults}") from None

settings, places = wiring.settings, wiring.places
needs = JobNeeds(wiring)


def code_of(rule, *plug_ins):
    """Digest of a rule's script and of what it imports."""
    return code_digest(script(rule), *plug_ins)


def code_of_task(script_name, evaluation):
    """Digest of a rule's code, the task of an evaluation among it."""
    task = wiring.evaluations.named()[evaluation].name
    return code_of(script_name, EVALUATION_TASKS.source_file(task))


def of_user(paths):
    """Files of the user, which lie where they are whatever a module's prefix."""
    return [local(path) for path in paths] if IS_MODULE else list(paths)


# Jobs run in the Python of this process, unless conda gives them another.
JOB = job_prelude(
    own_python=not workflow.deployment_settings
    or not any(
        method.name == "CONDA"
        for method in workflow.deployment_settings.deployment_method
    )
)


def prelude(wildcards, output):
    """What a job's shell finds before its command.

    It has paths of this machine, and depends on the output by its form alone: Snakemake then runs nothing
    again when they change.
    """
    return JOB


def in_job(command):
    """A rule's command, with what its shell finds before it.

    Settings go to a file beside the log: an argument may hold 128 KiB, a word of a shell any number.
    """
    return f"\n{{params.prelude}}{command}"


wildcard_constraints:
    model=alternatives(settings.models),
    tokenizer=alternatives(settings.models),
    corpus=alternatives(settings.corpora),
    windowing=alternatives(settings.windowings),
    scorer=alternatives(settings.scorers),
    selection=alternatives(settings.stages),
    export=alternatives(settings.exports),
    run=alternatives(settings.runs),
    loss=alternatives(settings.losses),
    evaluation=alternatives(wiring.evaluations.named()),
    seed=r"\d+",
    length=r"\d+",
    shard=r"\d{5}|held_out",
    ending=r"parquet|jsonl|jsonl\.zst",
