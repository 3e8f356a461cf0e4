"""What holds for every script: its output is its contract's and the same each time, its usage is checked."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from longspan.models.folders import read_manifest
from longspan.store.code import stage_version
from longspan.store.contracts import CONTRACTS
from longspan.store.tables import open_table, read_table
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import RULES, code_of, run_main, script_of

# Of each script: the kind of its table, the template of its output, and its other names if they differ.
TABLES = {
    "read_documents": ("documents", "documents", {}),
    "tokenize_documents": ("tokens", "tokens", {}),
    "assign_windows": ("windows", "windows", {}),
    "score_short": ("nll_scores", "scores", {}),
    "score_attention": ("attention_scores", "scores", {"scorer": "tiny-layer0"}),
    "collect_weights": ("score_index", "score_index", {}),
    "select_windows": ("selection", "selection", {}),
    "list_kept_windows": ("kept_windows", "kept", {}),
    "train": ("training_metrics", "run", {}),
    "evaluate": ("evaluation", "evaluation", {}),
}
FILES = {
    "download_model": ["model"],
    "plan_shards": ["plan", "plan_index"],
    "record_frozen_weights": ["frozen_weights"],
    "compare_models": ["evaluation_table", "evaluation_markdown", "verdict"],
    "summarize_results": ["summary", "summary_table", "funnel"],
    "draw_figures": ["figures"],
    "export_windows": ["data"],
    "write_data_card": ["card"],
    "record_settings": ["settings_record"],
    "aggregate_shard": ["shard_aggregate"],
    "aggregate_selection": ["selection_aggregate"],
    "build_report": ["page"],
}
# The tiny chain neither fetches texts nor publishes: test_downloads.py and test_publish.py have servers.
# No tiny evaluation has an evaluator: test_declared_inputs.py has one that does.
# Costs are of what Snakemake leaves of its jobs: tests/unit/reporting/test_costs.py.
SCRIPT_NAMES = sorted(
    set(RULES)
    - {
        "download_texts",
        "estimate",
        "index_references",
        "pin_revisions",
        "prepare_task",
        "publish_export",
        "tabulate_costs",
    }
)


def output(chain, script):
    """The main file that a script writes."""
    if script == "train":
        return chain.path("run") / "metrics.parquet"
    if script in TABLES:
        _, template, names = TABLES[script]
        return chain.path(template, **names)
    return chain.path(FILES[script][0], figure="trainings")


def files_under(folder="."):
    """Contents of all files, those of a training's speed left out."""
    timed = ("speed.parquet", "events.out.tfevents")
    paths = (path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith(timed))
    return {str(path): path.read_bytes() for path in paths}


def test_these_tests_know_every_script():
    assert sorted([*TABLES, *FILES]) == SCRIPT_NAMES


@pytest.mark.parametrize("script", TABLES)
def test_a_table_has_the_columns_and_the_manifest_of_its_kind(chain, script):
    kind, _, _ = TABLES[script]
    table, manifest = read_table(output(chain, script), kind)
    assert table.schema.remove_metadata() == CONTRACTS[kind].columns
    assert CONTRACTS[kind].rule == script
    assert manifest.rows == table.num_rows > 0
    assert manifest.code_digest == code_of(script)
    versions = {
        "score_short": stage_version("scoring.nll"),
        "score_attention": stage_version("scoring.attention_statistics"),
        "train": stage_version("training.loop"),
    }
    assert manifest.stage_version == versions.get(script, 1)
    assert all(len(digest) == 64 for digest in manifest.inputs.values())
    if script not in ("read_documents", "select_windows", "list_kept_windows", "train"):
        assert len(manifest.tokenizer) == 64


def test_a_manifest_names_the_digest_of_what_went_in(chain):
    """From a selection or a training back to the documents: each digest is that of the file before."""

    def manifest(template, kind, **names):
        return open_table(chain.path(template, **names), kind)[1]

    documents, tokens = manifest("documents", "documents"), manifest("tokens", "tokens")
    windows, scores = manifest("windows", "windows"), manifest("scores", "nll_scores")
    assert tokens.inputs == {"documents": documents.data_digest}
    assert windows.inputs == {"documents": documents.data_digest, "tokens": tokens.data_digest}
    model = read_manifest(chain.path("model"))
    assert scores.inputs == {"model": model["digest"]}  # which tokens they are of, each row says
    index = manifest("score_index", "score_index").inputs
    assert index["windows/00000"] == windows.data_digest
    assert index["scores/00000"] == scores.data_digest
    attention = manifest("scores", "attention_scores", scorer="tiny-layer0")
    assert attention.inputs == {"model": model["first_layer_digest"]}
    assert manifest("selection", "selection").inputs["scores/00000"] == attention.data_digest
    held_out = manifest("windows", "windows", shard="held_out")
    evaluation = manifest("evaluation", "evaluation", trained="base")
    assert evaluation.inputs == {"model": model["digest"], "windows": held_out.data_digest}


@pytest.mark.parametrize("script", SCRIPT_NAMES)
def test_a_rerun_gives_the_same_bytes(chain, script):
    before = files_under()
    for name in [name for name in before if Path(name) == output(chain, script)]:
        Path(name).unlink()
    assert not output(chain, script).exists()
    chain.make(script)
    assert files_under() == before


@pytest.mark.parametrize("script", SCRIPT_NAMES)
def test_a_rerun_over_its_own_output_changes_no_byte(chain, script):
    before = files_under()
    chain.make(script)
    assert files_under() == before


@pytest.mark.parametrize("script", SCRIPT_NAMES)
def test_an_unknown_or_missing_argument_is_a_usage_error(chain, script):
    assert run_main(script_of(script), ["--help"]).code == 0
    assert chain.run(script, "--colour", "red").code == 2
    if script != "record_frozen_weights":
        assert run_main(script_of(script), []).code == 2


@pytest.mark.parametrize("script", ["plan_shards", "score_short", "train"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [("{", "not JSON: "), ("[1]", "must be a JSON object"), ("3", "must be a JSON object")],
)
def test_settings_that_are_no_json_object_are_a_usage_error(chain, script, settings, message):
    arguments = chain.arguments(script)
    arguments[arguments.index("--settings") + 1] = settings
    result = run_main(script_of(script), arguments)
    assert result.code == 2
    assert f"argument --settings: {message}" in result.stderr


def test_a_real_command_line_ends_with_one_line_and_a_code(chain):
    """As under Snakemake: an interpreter of its own."""

    def command(**environment):
        return subprocess.run(
            [sys.executable, str(SCRIPTS / "tokenize_documents.py"), *chain.arguments("tokenize_documents")],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SCRIPTS.parent)} | environment,
        )

    chain.path("tokens").unlink()
    assert command().returncode == 0
    assert chain.path("tokens").exists()
    chain.path("documents").unlink()
    result = command()
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    # Who looks for the place of a fault can have it.
    assert "Traceback" in command(LONGSPAN_TRACEBACK="1").stderr


def test_the_tiny_chain_covers_both_shards_and_the_held_out_works(chain):
    for shard in ("00000", "00001", "held_out"):
        table = pq.read_table(chain.path("windows", shard=shard))
        assert table.num_rows
        assert all(data_id.startswith(f"short-{shard}_") for data_id in table["data_id"].to_pylist())
