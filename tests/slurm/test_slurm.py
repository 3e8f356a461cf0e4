"""`snakemake --profile slurm all` on a real SLURM, from a fresh clone, and what may go wrong there."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from checkouts import clone
from tiny_inputs import make_inputs

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).parent / "probe"
sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, why_not  # noqa: E402

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "no SLURM"),
]
GPU_RULES = {"score_short", "score_attention", "score_ladm", "score_prolong", "train", "evaluate"}
NETWORK_RULES = {"pin_revisions", "download_model", "download_texts"}
TOKEN = "hf_" + "secret" * 4
SECONDS_A_CALL = 900
SCORES = [f"results/scores/short-128/tiny-32/{shard:05d}.parquet" for shard in range(4)]


class Site:
    """A clone beside a running SLURM."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder = folder
        self.cluster = cluster
        self.probe = folder.parent / "probe"
        self.probe.mkdir()
        self._started: list[subprocess.Popen] = []

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start `snakemake --profile slurm` with these arguments, in the checkout."""
        environment = os.environ | {"PYTHONPATH": str(PROBE), "PROBE": str(self.probe), "HF_TOKEN": TOKEN}
        environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Shells start what runs in their background with SIGINT ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *arguments: str) -> str:
        """Run it to the end, which must be a good one; its output."""
        return self.end(self.start(*arguments))

    def end(self, process: subprocess.Popen, good: bool = True) -> str:
        """Wait for the end of a call, which must be a good one or must not; its output."""
        output, _ = process.communicate(timeout=SECONDS_A_CALL)
        assert (process.returncode == 0) == good, output[-6000:]
        return output

    def remove_scores(self, count: int) -> dict[Path, bytes]:
        """Remove some shards' scores; their contents, by file."""
        removed = {}
        for name in SCORES[:count]:
            path = self.folder / name
            removed[path] = path.read_bytes()
            path.unlink()
        return removed

    def probes(self, script: str | None = None) -> list[dict]:
        """What the scripts recorded since the last `forget`."""
        path = self.probe / "jobs.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if script in (None, line["script"])]

    def forget(self) -> None:
        """Forget what was recorded, and what jobs were told."""
        for path in self.probe.iterdir():
            path.unlink()

    @contextmanager
    def holding(self, script: str):
        """Make a script wait where it starts, as long as the block runs."""
        wait = self.probe / f"wait_{script}"
        wait.touch()
        try:
            yield
        finally:
            wait.unlink()

    def wait_for(self, script: str, count: int) -> list[dict]:
        """Wait until a script has started so often."""
        deadline = time.monotonic() + 400
        while len(found := [line for line in self.probes(script) if line["event"] == "start"]) < count:
            assert time.monotonic() < deadline, self.probes()
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    # munged refuses a socket below a folder that others cannot enter.
    for path in (folder, *folder.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(0o755)
    checkout = folder / "checkout"
    clone(checkout)
    make_inputs(checkout / "inputs")
    settings = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
    settings["corpora"]["short"]["shards"] = 4
    # Each job costs seconds here; what these add runs like the others.
    del settings["exports"], settings["report"], settings["selections"]["drawn"]
    run = settings["runs"].pop("main")
    for name, devices, nodes in (("pair", 2, 1), ("wide", 1, 2)):
        more = {"devices": devices, "nodes": nodes, "gradient_accumulation_steps": 1}
        settings["runs"][name] = run | {"train": run["train"] | more}
    (checkout / "config.yaml").write_text(yaml.safe_dump(settings))
    profile = checkout / "profiles" / "slurm" / "config.yaml"
    text, count = re.subn(r"(status-checks: )5$", r"\g<1>1", profile.read_text(), flags=re.MULTILINE)
    assert count == 2
    profile.write_text(text)
    daemons = folder / "daemons"
    daemons.mkdir()
    with Cluster(daemons) as cluster:
        site = Site(checkout, cluster)
        yield site
        site.stop()


@pytest.fixture(scope="module")
def finished(site):
    """The whole chain, run once; one CPU job dies once, and the scoring jobs wait for each other."""
    (site.probe / "die_assign_windows").touch()
    with site.holding("score_short"):
        process = site.start("all")
        site.wait_for("score_short", 4)
    output = site.end(process)
    return output, site.probes(), site.cluster.jobs()


def test_the_literal_command_runs_the_chain_and_then_has_nothing_to_do(site, finished):
    assert (site.folder / "results/report.html").exists()
    assert (site.folder / "results/frozen_weights.done").exists()
    assert "Nothing to be done" in site.run("all")


def test_gpu_rules_have_gpus_and_cpu_rules_none(finished):
    _, probes, _ = finished
    for line in probes:
        gpu = line["CUDA_VISIBLE_DEVICES"]
        assert bool(gpu) == (line["script"] in GPU_RULES), line
    used = GPU_RULES - {"score_ladm", "score_prolong"}  # the tiny chain has no such scorer
    scripts = {line["script"] for line in probes}
    assert scripts >= used | {"plan_shards", "read_documents", "tokenize_documents", "assign_windows"}


def test_four_shards_are_scored_on_four_gpus_of_two_nodes_at_once(finished):
    _, probes, _ = finished
    times = {"start": [], "end": []}
    for line in (line for line in probes if line["script"] == "score_short"):
        times[line["event"]].append(line["time"])
    assert len(times["start"]) == len(times["end"]) == 4
    assert max(times["start"]) < min(times["end"])
    devices = {
        (line["SLURMD_NODENAME"], line["CUDA_VISIBLE_DEVICES"])
        for line in probes
        if line["script"] == "score_short"
    }
    assert devices == {("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")}


def test_training_over_devices_is_one_job_on_one_node_and_over_nodes_one_job(finished):
    _, probes, _ = finished
    ranks = defaultdict(set)
    for line in probes:
        if line["script"] == "train" and line["event"] == "start":
            ranks[line["SLURM_JOB_ID"]].add((line["RANK"], line["WORLD_SIZE"], line["SLURMD_NODENAME"]))
    worlds = sorted(sorted((rank, size) for rank, size, _ in job if rank) for job in ranks.values())
    assert worlds == [[("0", "2"), ("1", "2")], [("0", "2"), ("1", "2")]]
    nodes = sorted(len({node for _, _, node in job}) for job in ranks.values())
    assert nodes == [1, 2]


def test_the_job_that_died_ran_again_with_more_memory_and_time(site, finished):
    _, _, jobs = finished
    failed = [job for job in jobs if job.state == "FAILED"]
    assert len(failed) == 1
    assert "assign_windows" in failed[0].comment
    again = [job for job in jobs if job.comment == failed[0].comment and job.state == "COMPLETED"]
    assert len(again) == 1
    first, second = (_request(job.number) for job in (failed[0], again[0]))
    assert second["memory"] > first["memory"]
    assert second["minutes"] > first["minutes"]


def _request(number: str) -> dict[str, float]:
    command = ["squeue", "-h", "--states=all", "--job", number, "-O", "MinMemory:30,TimeLimit:30"]
    memory, limit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    hours, minutes, _ = ("0:" * (2 - limit.count(":")) + limit.replace("-", ":")).split(":")[-3:]
    scale = {"M": 1, "G": 1024}[memory[-1]]
    return {"memory": float(memory[:-1]) * scale, "minutes": int(hours) * 60 + int(minutes)}


def test_the_token_reaches_the_downloads_and_no_log(site, finished):
    output, probes, _ = finished
    for line in probes:
        # Scripts that need it no longer have dropped it by their end.
        if line["event"] == "start" or line["script"] not in NETWORK_RULES:
            assert (line["HF_TOKEN"] == TOKEN) == (line["script"] in NETWORK_RULES), line
    assert TOKEN not in output
    for folder in (site.folder / "results", site.folder / ".snakemake"):
        for path in folder.rglob("*"):
            if path.is_file():
                assert TOKEN.encode() not in path.read_bytes(), path


def test_a_node_that_goes_down_costs_only_its_jobs_and_scancel_one(site, finished):
    site.forget()
    before = site.remove_scores(4)
    with site.holding("score_short"):
        process = site.start(*SCORES)
        started = site.wait_for("score_short", 4)
        down = [line for line in started if line["SLURMD_NODENAME"] == "n2"]
        cancelled, kept = (line["SLURM_JOB_ID"] for line in started if line["SLURMD_NODENAME"] == "n1")
        assert len(down) == 2
        site.cluster.crash("n2")
        subprocess.run(["scontrol", "update", "nodename=n2", "state=down", "reason=test"], check=True)
        subprocess.run(["scancel", cancelled], check=True)
        time.sleep(2)
        site.cluster.start("n2", "slurmd", "-N", "n2")
        # It may be back of itself by now, and is not resumed twice then.
        subprocess.run(["scontrol", "update", "nodename=n2", "state=resume"], check=False)
    site.end(process)
    ends = Counter(line["SLURM_JOB_ID"] for line in site.probes("score_short") if line["event"] == "end")
    lost = {cancelled, *(line["SLURM_JOB_ID"] for line in down)}
    assert ends[kept] == 1
    assert len(ends.keys() - {kept} - lost) == 3
    assert {path: path.read_bytes() for path in before} == before


def test_the_next_call_finishes_what_an_interrupt_and_scancel_left(site, finished):
    site.forget()
    before = site.remove_scores(1)
    with site.holding("score_short"):
        process = site.start(SCORES[0])
        site.wait_for("score_short", 1)
        process.send_signal(signal.SIGINT)
        site.end(process, good=False)
        deadline = time.monotonic() + 60
        while site.cluster.jobs("pending,running,completing"):
            assert time.monotonic() < deadline, site.cluster.jobs()
            time.sleep(0.2)
        process = site.start(SCORES[0])
        for attempt in (2, 3):  # the second is the retry of the first
            subprocess.run(["scancel", site.wait_for("score_short", attempt)[-1]["SLURM_JOB_ID"]], check=True)
        site.end(process, good=False)
    site.run(SCORES[0])
    assert {path: path.read_bytes() for path in before} == before
    assert "Nothing to be done" in site.run("all")
