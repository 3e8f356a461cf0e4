"""What runs again after events that are no settings: dry runs over a finished chain."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

TARGETS = ("results/frozen_weights.done", "results/evaluations/main/dense/seed0/position_nll.parquet")
AFTER_SCORES = {"collect_weights": 1, "record_frozen_weights": 1, "train": 1, "evaluate": 1}


@pytest.fixture(scope="module")
def chain(checkout_workflow):
    checkout_workflow.run(*TARGETS)
    return checkout_workflow


@contextmanager
def edited(path: Path, pattern: str, replacement: str):
    """A file with the first match of a pattern replaced, as long as the block runs."""
    before = path.read_text()
    after = re.sub(pattern, replacement, before, count=1)
    assert after != before, path
    path.write_text(after)
    yield
    path.write_text(before)


def test_nothing_runs_again_after_a_fresh_checkout_or_under_another_profile(chain):
    for path in chain.folder.rglob("*"):
        if path.is_file() and not {"results", "inputs", ".snakemake"} & set(path.parts):
            os.utime(path)
    assert chain.jobs(*TARGETS) == {}
    assert chain.jobs("--profile", "slurm", *TARGETS) == {}


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("scoring/nll", {"score_short": 2} | AFTER_SCORES),
        (
            "scoring/attention_statistics",
            {
                "score_attention": 2,
                "select_windows": 1,
                "list_kept_windows": 1,
                "train": 1,
                "evaluate": 1,
            },
        ),
        ("training/loop", {"train": 1, "evaluate": 1}),
    ],
)
def test_a_stage_version_runs_its_stage_and_what_follows(chain, module, jobs):
    path = chain.folder / "workflow" / "longspan" / f"{module}.py"
    with edited(path, r"STAGE_VERSION = (\d+)", r"STAGE_VERSION = 1\1"):
        assert chain.jobs(*TARGETS) == jobs


def test_an_edit_of_the_code_throws_away_no_score_and_no_training(chain):
    library = chain.folder / "workflow" / "longspan"
    with edited(library / "scoring/nll.py", '"""', '"""Edited. '):
        assert "score_short" not in chain.jobs(*TARGETS)
    with edited(library / "training/loop.py", '"""', '"""Edited. '):
        assert chain.jobs(*TARGETS) == {}


def test_an_edit_of_a_cpu_module_runs_the_rules_that_import_it(chain):
    library = chain.folder / "workflow" / "longspan"
    with edited(library / "windows/assignment.py", '"""', '"""Edited. '):
        jobs = chain.jobs(*TARGETS)
    assert jobs["assign_windows"] == 3
    assert not {"read_documents", "tokenize_documents"} & jobs.keys()


def test_an_edit_of_a_plug_in_runs_the_jobs_that_use_it_and_no_others(chain):
    methods = chain.folder / "workflow/longspan/selection/methods"
    with edited(methods / "longattn.py", '"""', '"""Edited. '):
        assert chain.jobs(*TARGETS) == {
            "select_windows": 1,
            "list_kept_windows": 1,
            "train": 1,
            "evaluate": 1,
        }
    with edited(methods / "gzip.py", '"""', '"""Edited. '):
        assert chain.jobs(*TARGETS) == {}
    kinds = chain.folder / "workflow/longspan/scoring/kinds"
    with edited(kinds / "short_nll.py", '"""', '"""Edited. '):
        assert "score_short" not in chain.jobs(*TARGETS)


def test_a_removed_intermediate_is_made_again_when_it_is_needed(chain):
    path = chain.folder / "results/windows/short-128/00001.parquet"
    before = path.read_bytes()
    path.unlink()
    assert chain.jobs(*TARGETS) == {}
    scores = "results/scores/short-128/tiny-32/00001.parquet"
    times = os.stat(chain.folder / scores)
    (chain.folder / scores).rename(chain.folder / "kept")
    assert {"assign_windows", "score_short"} <= chain.jobs(scores).keys()
    (chain.folder / "kept").rename(chain.folder / scores)
    path.write_bytes(before)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns - 10**9))
    assert chain.jobs(*TARGETS) == {}


def test_what_is_planned_needs_no_checkpoint(chain):
    text = chain.folder / "inputs/prose/prose_4.txt"
    times = os.stat(text)
    assert "checkpoint" not in chain.run("-n", *TARGETS).stdout
    os.utime(text)
    output = chain.run("-n", *TARGETS).stdout
    os.utime(text, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "Updating checkpoint dependencies" in output
    assert "Nothing to be done" in output


def shards_after_planning(chain) -> dict[str, int]:
    """Rules and jobs that follow once the plan is made."""
    assert chain.jobs(*TARGETS) == {"plan_shards": 1}
    index = chain.folder / "results/corpora/short/plan.json"
    plans = {path: path.read_bytes() for path in [index, *(index.parent / "plan").iterdir()]}
    chain.run("results/corpora/short/plan.json")
    jobs = chain.jobs("results/windows/short-128/held_out.parquet", *TARGETS)
    for path, content in plans.items():
        path.write_bytes(content)
    return jobs


def test_a_text_that_is_changed_added_or_removed_runs_its_own_shard(chain):
    text = chain.folder / "inputs/prose/prose_4.txt"
    before = text.read_text()
    text.write_text(before + "One sentence more.\n")
    jobs = shards_after_planning(chain)
    assert [jobs[rule] for rule in ("read_documents", "tokenize_documents", "assign_windows")] == [1, 1, 1]
    assert jobs["score_attention"] == jobs["score_short"] == 1
    text.unlink()
    jobs = shards_after_planning(chain)
    assert jobs["read_documents"] == jobs["score_short"] == 1
    text.write_text(before)
    added = text.with_name("prose_9.txt")
    added.write_text("Another text of some words. " * 80)
    jobs = shards_after_planning(chain)
    assert jobs["read_documents"] == jobs["score_short"] == 1


def test_a_new_shard_runs_itself_and_what_joins_shards(chain):
    (chain.folder / "inputs/prose/prose_9.txt").write_text("Another text of some words. " * 80)
    with edited(chain.configfile, "shards: 2", "shards: 3"):
        jobs = shards_after_planning(chain)
    for rule in ("read_documents", "tokenize_documents", "assign_windows"):
        assert jobs[rule] == 1, rule
    assert jobs["score_attention"] == jobs["score_short"] == 1
    assert jobs["select_windows"] == jobs["collect_weights"] == jobs["train"] == 1
