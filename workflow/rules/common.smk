"""Settings, paths and the environment that the rules share."""

import os
import sys
from pathlib import Path

WORKFLOW = Path(workflow.basedir, "workflow")
sys.path.insert(0, str(WORKFLOW))

from longspan.store.code import code_digest, stage_version
from longspan_workflow.running.environment import prepare_environment
from longspan_workflow.wiring.exports import Exports
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.running.launchers import training_launcher
from longspan_workflow.wiring.layout import Layout, as_json
from longspan_workflow.wiring.reports import Reports
from longspan_workflow.wiring.runs import Runs
from longspan_workflow.wiring.training_cards import training_card
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.settings.schema import SettingsError

try:
    layout = Layout(load_settings(config))
except SettingsError as error:
    raise WorkflowError(f"Fault in the settings: {error}") from None
runs = Runs(layout)
reports = Reports(layout, runs)
exports = Exports(layout)
needs = JobNeeds(layout)

prepare_environment(WORKFLOW)

# Only the commands that fetch from the hub are given its token, by name. A prefix takes the place of Snakemake's
# own, without which a script's failure would end in tee's success.
shell.prefix('set -euo pipefail; hub_token="${{HF_TOKEN:-}}"; unset HF_TOKEN; ')


wildcard_constraints:
    model=layout.names("models"),
    tokenizer=layout.names("models"),
    corpus=layout.names("corpora"),
    windowing=layout.names("windowings"),
    scorer=layout.names("scorers"),
    selection=layout.names("selections"),
    export=layout.names("exports"),
    run=layout.names("runs"),
    loss=layout.names("losses"),
    seed=r"\d+",
    shard=r"\d{5}|held_out",
    ending=r"parquet|jsonl|jsonl\.zst",
