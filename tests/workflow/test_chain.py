"""The whole chain on the tiny inputs: what it writes, and what runs again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

README = Path(__file__).parents[2] / "README.md"
REPORT_RULES = {
    "aggregate_selection",
    "aggregate_shard",
    "build_report",
    "record_settings",
    "compare_models",
    "summarize_results",
    "draw_figures",
    "tabulate_costs",
    "report",
}


def edit(workflow, change):
    settings = yaml.safe_load(workflow.configfile.read_text())
    change(settings)
    workflow.configfile.write_text(yaml.safe_dump(settings))


def test_what_cannot_fit_is_refused_at_its_door_and_in_the_estimate(workflow):
    before = workflow.configfile.read_text()
    edit(workflow, lambda settings: settings.update(device={"memory_gb": 1.0e-6}))
    estimate, run = workflow.run("estimate", check=False), workflow.run("all", check=False)
    workflow.configfile.write_text(before)
    assert estimate.returncode == run.returncode == 1
    reason = (
        r"((?:scorers|runs)\.\S.*): needs about 0\.0 GB of each device, and device\.memory_gb is 1e-06; (.+)"
    )
    refused = re.findall(reason, estimate.stdout)
    assert {where: less.split(",")[0] for where, less in refused} == {
        "scorers.tiny-layer0 (over windowing 'short-128')": "shorten its windows",
        "scorers.tiny-32 (over windowing 'short-128')": "lower windows_per_batch",
        "runs.main.train": "less is needed with gradient_checkpointing: true",
        "runs.main (its evaluation)": "take dtype bfloat16 or a smaller model",
    }
    # Which job is asked first is left open.
    stopped = re.findall(reason, run.stdout)
    assert stopped, run.stdout
    assert set(stopped) <= set(refused)
    assert (workflow.folder / "results/estimate.tsv").exists()
    shutil.rmtree(workflow.folder / "results")


def test_the_chain_runs_and_then_has_nothing_to_do(workflow):
    estimate = workflow.run("estimate").stdout
    assert re.search(r"^train +main/dense +1 +512 ", estimate, re.MULTILINE), estimate
    made = sorted(path.name for path in (workflow.folder / "results").iterdir())
    assert made == ["estimate.tsv", "logs"]
    workflow.run("all")
    results = workflow.folder / "results"
    assert (results / "frozen_weights.done").exists()
    assert (results / "runs/main/dense/seed0/model/config.json").exists()
    summary = (results / "summary.txt").read_text()
    for quantity in (
        "documents",
        "windows",
        "tokens",
        "mean short NLL",
        "mean long NLL",
        "windows kept",
        "rank correlation",
        "training loss",
        "short context",
        "held-out perplexity",
    ):
        assert re.search(rf"^{quantity} ", summary, re.MULTILINE), summary
    assert "Nothing to be done" in workflow.run("all").stdout


def test_the_kept_windows_load_in_the_two_lines_of_the_readme(workflow):
    lines = re.search(
        r"```python\n(from datasets import load_dataset\n.*?)```", README.read_text(), re.DOTALL
    )[1]
    assert len([line for line in lines.splitlines() if line]) == 2
    program = f"{lines}\nprint(kept.num_rows, sorted(kept.column_names))"
    environment = os.environ | {"HF_HOME": str(workflow.folder / "hf"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=workflow.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.startswith("8 ['category', 'char_start', 'char_stop', 'content', 'data_id'"), (
        result.stderr
    )


def test_what_may_be_deleted_after_a_run_makes_nothing_run_again(workflow):
    """docs/disk.md says so."""
    results, aside = workflow.folder / "results", workflow.folder / "aside"
    names = ["corpora/short/documents", "corpora/short/dropped", "tokens", "scores", "exports/kept/data"]
    names.append("runs/main/dense/seed0/model")
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).rename(aside / name)
    jobs = workflow.jobs("all")
    for name in names:
        (aside / name).rename(results / name)
    assert jobs == {}


def test_the_report_is_one_file_with_the_figures_in_it(workflow):
    report = (workflow.folder / "results/report-snakemake.html").read_text()
    assert "perplexity" in report.lower()
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', report)


def test_the_trained_model_loads_with_transformers_alone(workflow):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = workflow.folder / "results/runs/main/dense/seed0/model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("a few words", return_tensors="pt").input_ids
    assert model(ids).logits.isfinite().all()


def test_two_losses_and_two_seeds_train_four_times_and_score_nothing_again(workflow):
    def change(settings):
        settings["losses"]["plain"] = {"variant": "plain"}
        settings["runs"]["main"] |= {"loss": ["dense", "plain"], "seeds": [0, 1]}

    scores = workflow.folder / "results/scores/short-128/tiny-32/00000.parquet"
    before = scores.read_bytes()
    edit(workflow, change)
    jobs = workflow.jobs()
    # One of the four is there already.
    assert {rule: count for rule, count in jobs.items() if rule not in REPORT_RULES} == {
        "train": 3,
        "evaluate": 3,
    }
    workflow.run("all")
    assert scores.read_bytes() == before
    models = list((workflow.folder / "results/runs/main").glob("*/seed*/model/model.safetensors"))
    assert len(models) == 4
    assert len({model.read_bytes() for model in models}) == 4


def test_a_keep_ratio_touches_the_selection_and_what_follows(workflow):
    edit(workflow, lambda settings: settings["selections"]["half"].update(keep={"ratio": 0.25}))
    # Two trainings a loss and their evaluations; the base model's evaluation stays.
    assert {rule: count for rule, count in workflow.jobs().items() if rule not in REPORT_RULES} == {
        "select_windows": 1,
        "list_kept_windows": 1,
        "export_windows": 2,
        "write_data_card": 1,
        "train": 4,
        "evaluate": 4,
    }


def test_a_new_shard_leaves_the_plans_of_the_others_alone(workflow):
    plan = workflow.folder / "results/corpora/short/plan"
    before = {path.name: path.read_bytes() for path in plan.glob("*.json")}
    (workflow.folder / "inputs/prose/prose_9.txt").write_text("one more document for the corpus. " * 400)
    edit(workflow, lambda settings: settings["corpora"]["short"].update(shards=3))
    scores = workflow.folder / "results/scores/short-128/tiny-32/00000.parquet"
    old_scores = scores.read_bytes()
    workflow.run("results/frozen_weights.done")
    after = {path.name: path.read_bytes() for path in plan.glob("*.json")}
    assert after.keys() - before.keys() == {"00002.json"}
    assert all(after[name] == content for name, content in before.items())
    assert scores.read_bytes() == old_scores
    windows = pq.read_table(workflow.folder / "results/windows/short-128/00002.parquet")
    assert windows.num_rows
    assert all(data_id.startswith("short-00002_") for data_id in windows["data_id"].to_pylist())


def test_a_deleted_score_file_is_the_only_one_scored_again(workflow):
    folder = workflow.folder / "results/scores/short-128/tiny-32"
    before = (folder / "00001.parquet").read_bytes()
    (folder / "00001.parquet").unlink()
    (folder / "index.parquet").unlink()
    index = "results/scores/short-128/tiny-32/index.parquet"
    assert workflow.jobs(index) == {"score_short": 1, "collect_weights": 1}
    workflow.run(index)
    assert (folder / "00001.parquet").read_bytes() == before


def test_selections_by_other_methods_find_what_they_look_at(workflow):
    def change(settings):
        block = {"windowing": "short-128", "keep": {"windows": 3}}
        settings["selections"]["gain"] = block | {"method": "nll_gain", "scorer": "tiny-32"}
        settings["selections"]["packed"] = block | {"method": "gzip"}
        # Another run's limit: a store that a selection chooses by stays whole.
        settings["runs"]["main"]["select_first"] = True

    kept = workflow.configfile.read_text()
    edit(workflow, change)
    tables = [f"results/selections/{name}.parquet" for name in ("gain", "packed")]
    try:
        assert workflow.jobs(*tables) == {"select_windows": 2}
        workflow.run(*tables)
    finally:
        workflow.configfile.write_text(kept)
    for table in tables:
        assert sum(pq.read_table(workflow.folder / table)["kept"].to_pylist()) == 3


def test_a_typo_stops_before_any_job_and_names_the_key(workflow):
    kept = workflow.configfile.read_text()
    edit(workflow, lambda settings: settings["scorers"]["tiny-32"].update(base_lenght=64))
    result = workflow.run("-n", check=False)
    workflow.configfile.write_text(kept)
    assert result.returncode == 1
    assert "scorers.tiny-32.base_lenght: unknown key; did you mean 'base_length'?" in result.stdout


def test_one_changed_text_runs_its_own_shard_alone(workflow):
    text = workflow.folder / "inputs/prose/prose_3.txt"
    text.write_text(text.read_text() + "one sentence more.\n")
    # What follows from a new plan is known when it has run.
    assert workflow.jobs("results/windows/short-128/00000.parquet") == {"plan_shards": 1}
    targets = [f"results/windows/short-128/{shard}.parquet" for shard in ("00000", "00001", "held_out")]
    output = workflow.run(*targets).stdout
    started = re.findall(r"^    output: results/(\S+?)(?:,| \(update\)|$)", output, re.MULTILINE)
    shards = {Path(name).stem for name in started} - {"plan"}
    assert len(shards) == 1, started
    assert len(started) == 4, started


def test_a_script_that_fails_fails_its_job_though_the_output_is_there(workflow):
    plan = workflow.folder / "results/corpora/short/plan/00000.json"
    content = plan.read_bytes()
    plan.write_text("[{}]")
    result = workflow.run("results/corpora/short/plan.json", "--forcerun", "plan_shards", check=False)
    plan.write_bytes(content)
    assert "is no shard plan" in result.stdout
    assert result.returncode != 0
