"""make_task and evaluate over prompts: what is written, by however many processes, and after a kill."""

import copy
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from longspan.models.folders import read_manifest
from longspan.store.contracts import CONTRACTS
from longspan.store.tables import open_table, read_table
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import TINY, Chain, code_of, run_main

CODES = {
    "task": "needle",
    "lengths": [256, 400],
    "variants": ["single", "multi_value"],
    "codes": 2,
    "depths": [0.2, 0.8],
    "samples": 3,
    "tokens_per_batch": 800,
}
LENGTHS = ("256", "400")


class Prompted(Chain):
    """The tiny chain with an evaluation over prompts."""

    def __init__(self, **options):
        settings = copy.deepcopy(TINY)
        settings["evaluations"] = {"codes": CODES | options}
        settings["runs"]["main"]["evaluations"] = ["codes"]
        super().__init__(settings)

    def inputs(self, length="256"):
        return self.path("task_inputs", evaluation="codes", length=length)

    def make_inputs(self):
        for length in LENGTHS:
            self.make("make_task", evaluation="codes", length=length)

    def answers(self, trained="base"):
        return self.path("evaluation", evaluation="codes", trained=trained)

    def answer(self, *more, trained="base"):
        return self.run("evaluate", *more, evaluation="codes", trained=trained)

    def command(self, trained="base"):
        arguments = self.arguments("evaluate", evaluation="codes", trained=trained)
        return [str(SCRIPTS / "evaluate.py"), *arguments]


@pytest.fixture
def prompted(folder):
    chain = Prompted()
    chain.make_inputs()
    return chain


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_tables_have_the_columns_and_the_manifest_of_their_kind(prompted):
    assert prompted.answer().code == 0
    for path, kind, rule in (
        (prompted.inputs(), "task_inputs", "make_task"),
        (prompted.answers(), "answers", "evaluate"),
    ):
        table, manifest = read_table(path, kind)
        assert table.schema.remove_metadata() == CONTRACTS[kind].columns
        assert CONTRACTS[kind].rule == rule
        assert manifest.rows == table.num_rows == (12 if rule == "make_task" else 24)
        assert manifest.tokenizer == read_manifest(prompted.path("model"))["tokenizer"]["identity"]
    made = [open_table(prompted.inputs(length), "task_inputs")[1] for length in LENGTHS]
    documents = open_table(prompted.path("documents", shard="held_out"), "documents")[1]
    assert made[0].inputs == {"documents": documents.data_digest}
    assert made[0].code_digest == code_of("make_task")
    assert manifest.inputs == {
        "model": read_manifest(prompted.path("model"))["digest"],
        **{f"inputs/{length}": found.data_digest for length, found in zip(LENGTHS, made, strict=True)},
    }


def test_a_rerun_gives_the_same_bytes_and_loads_no_model(prompted):
    prompted.answer()
    paths = [prompted.inputs(), prompted.answers()]
    before = [path.read_bytes() for path in paths]
    prompted.inputs().unlink()
    prompted.make_inputs()
    weights = prompted.path("model").with_name("model.safetensors")
    weights.write_bytes(bytes(weights.stat().st_size))  # would give other numbers, or none
    assert prompted.answer().code == 0
    assert [path.read_bytes() for path in paths] == before


def test_two_processes_write_what_one_does(prompted):
    assert prompted.answer().code == 0
    alone = prompted.answers().read_bytes()
    prompted.answers().unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*torchrun, *prompted.command()], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert prompted.answers().read_bytes() == alone
    assert sorted(os.listdir(prompted.answers().parent)) == ["codes.parquet", "position_nll.parquet"]


def test_a_killed_evaluation_goes_on_and_writes_what_an_unbroken_one_does(folder):
    chain = Prompted(tokens_per_batch=1, samples=6, variants=["single"])
    chain.make_inputs()
    process = subprocess.Popen([sys.executable, *chain.command()], env=environment())
    partial = chain.answers().with_name("codes.parquet.partial")
    while not partial.exists() or partial.stat().st_size <= 4096:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = partial.read_bytes()
    assert chain.answer().code == 0
    broken = chain.answers().read_bytes()
    chain.answers().unlink()
    assert chain.answer().code == 0
    assert chain.answers().read_bytes() == broken
    assert len(left) > 4096
    assert not partial.exists()


def test_answers_to_other_prompts_are_given_anew(prompted):
    prompted.answer()
    other = Prompted(samples=2)
    other.make_inputs()
    result = other.answer()
    assert "was answered with other inputs, settings; its samples are answered anew" in result.stderr
    assert read_table(other.answers(), "answers")[0].num_rows == 16


def test_summary_and_figures_hold_them(prompted):
    for trained in ("base", "dense/seed0"):
        assert prompted.answer(trained=trained).code == 0
    prompted.make("summarize_results")
    prompted.make("draw_figures")
    summary = prompted.path("summary").read_text()
    assert "needle single, score" in summary
    assert "256: 0.000 → 0.000, 400: 0.000 → 0.000 (24 samples)" in summary
    assert prompted.path("figures", figure="evaluation-codes").exists()


def test_a_model_that_writes_nothing_is_refused_and_no_table_is_left(prompted):
    # Every token ends a text.
    config = prompted.path("model").with_name("generation_config.json")
    config.write_text(json.dumps({"eos_token_id": list(range(400))}))
    result = prompted.answer()
    assert result.code == 1
    assert (
        "the model answers with a token that ends a text to each of 24 prompts, single-256-0.2-0 first: they "
        "do not end as its prompts do; try another form of them (prompt), or another model"
    ) in result.stderr
    assert not prompted.answers().exists()


def test_prompts_that_are_cut_short_or_of_another_tokenizer_are_refused(prompted):
    content = prompted.inputs().read_bytes()
    prompted.inputs().write_bytes(content[:-100])
    result = prompted.answer()
    assert result.code == 1
    assert f"{prompted.inputs()} is not a whole Parquet file" in result.stderr
    assert "which reruns make_task" in result.stderr
    prompted.inputs().write_bytes(content)
    path = prompted.path("model")
    manifest = json.loads(path.read_text())
    manifest["tokenizer"]["identity"] = "0" * 64
    path.write_text(json.dumps(manifest))
    result = prompted.answer()
    assert "has another tokenizer (000000000000) than the prompts" in result.stderr
    assert not prompted.answers().exists()


@pytest.mark.parametrize("script", ["make_task", "evaluate"])
def test_an_unknown_or_missing_argument_is_a_usage_error(prompted, script):
    assert run_main(script, ["--help"]).code == 0
    assert run_main(script, []).code == 2
    assert prompted.run(script, "--colour", "red", evaluation="codes", trained="base").code == 2
