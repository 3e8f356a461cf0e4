"""Every config and profile builds its DAG, from a clean checkout, with the literal commands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        source, target = ROOT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["-n"],
        ["-n", "all"],
        ["-n", "results/frozen_weights.done"],
        ["--profile", "slurm", "-n", "all"],
        ["--configfile", "configs/all-losses.yaml", "-n", "all"],
        ["--configfile", "configs/llama3-8b-32k.yaml", "-n", "all"],
        ["--profile", "slurm", "--configfile", "configs/llama3-8b-32k.yaml", "-n", "all"],
    ],
    ids=" ".join,
)
def test_dry_run_plans_the_chain(checkout, arguments):
    output = snakemake(checkout, *arguments)
    for rule in ("download_model", "download_texts", "read_documents", "score_short", "collect_weights"):
        assert rule in output


def test_all_losses_train_from_one_store_of_scores(checkout):
    jobs = dict(
        re.findall(
            r"^(\w+) +(\d+)$", snakemake(checkout, "--configfile", "configs/all-losses.yaml", "-n"), re.M
        )
    )
    assert {rule: jobs[rule] for rule in ("score_short", "collect_weights", "train", "evaluate")} == {
        "score_short": "2",
        "collect_weights": "1",
        "train": "7",
        "evaluate": "8",
    }


def test_all_losses_differ_from_the_default_in_the_losses_alone():
    default, every = (
        yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", "configs/all-losses.yaml")
    )
    assert every["runs"]["classics"].pop("loss") == list(every["losses"])
    assert default["runs"]["classics"].pop("loss") in every["losses"]
    assert {loss["variant"] for loss in every.pop("losses").values()} == {
        "plain", "dense", "sparse", "longce", "ppmi", "npmi"
    }  # fmt: skip
    del default["losses"]
    assert every == default


def test_nothing_is_published_without_a_repo_and_never_by_all(checkout):
    command = [sys.executable, "-m", "snakemake", "-n", "publish"]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "exports: none has a 'repo', so there is nothing to publish" in result.stdout + result.stderr
    settings = (checkout / "config.yaml").read_text()
    (checkout / "published.yaml").write_text(
        settings.replace("    loss: dense # whose", "    repo: me/w\n    loss: dense # whose")
    )
    with_repo = ("--configfile", "published.yaml", "-n")
    assert "publish_export" in snakemake(checkout, *with_repo, "publish")
    assert "publish_export" not in snakemake(checkout, *with_repo, "all")


def test_slurm_profile_sends_gpu_rules_to_a_gpu_partition(checkout):
    output = snakemake(checkout, "--profile", "slurm", "-n", "all")
    for job in output.split("\nrule ")[1:]:
        name = job.partition(":")[0]
        gpu = name in ("score_short", "score_attention", "train", "evaluate")
        resources = next((line for line in job.splitlines() if "resources:" in line), "")
        if "slurm_partition" in resources:
            assert ("slurm_partition=gpu" in resources) == gpu, name
            assert ("gpu=1" in resources) == gpu, name


def test_a_configfile_is_used_instead_of_the_default(checkout):
    output = snakemake(checkout, "--configfile", "configs/llama3-8b-32k.yaml", "-n", "all")
    assert "pg19" in output
    assert "classics" not in output
