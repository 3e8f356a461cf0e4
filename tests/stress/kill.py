"""Kill the workflow at random moments in every stage, and show that nothing is lost.

    python tests/stress/kill.py [--kills 100] [--seed 0]

Runs the chain over small inputs once unbroken. Then again and again with SIGKILL, most of them while the
stage that is aimed at has a file open: to a job's script, to one of the processes around it, to Snakemake
alone, whose jobs live on, or to all at once. Some orphans are held back, so that the next call meets their
locks. The same command goes on each time, after `snakemake --unlock` where Snakemake was killed.

Whenever a chain ends, its tables and weights must have the bytes of the unbroken run. Each score that was on
the disk at a kill must be there at the next, and none twice; a training must go on from its last update.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tiny_inputs import make_inputs  # noqa: E402

# The stages, and three whose locks keep an orphan and the next call apart.
LOCKED = ("score_attention", "score_short", "train")
# Rules that share a script are told apart by the kind that it is given.
_SCORE_RULES = {
    "short_nll": "score_short",
    "attention": "score_attention",
    "ladm": "score_ladm",
    "prolong": "score_prolong",
}
STAGES = (
    "download_model",
    "plan_shards",
    "read_documents",
    "tokenize_documents",
    "assign_windows",
    "select_windows",
    "list_kept_windows",
    "collect_weights",
    "record_frozen_weights",
    "export_windows",
    "write_data_card",
    "evaluate",
    "compare_models",
    "summarize_results",
    "aggregate_shard",
    "aggregate_selection",
    "tabulate_costs",
    "build_report",
    "draw_figures",
    "record_settings",
    "report",
    "snakemake",  # between jobs, or while it looks what is to be done
)
KILLS_A_CHAIN = 12
SECONDS_A_CALL = 400
UPDATES = 12
# Times are no data: of updates, of jobs, and their table.
TIMED = ("runs/*/*/*/speed.parquet", "benchmarks/**/*", "costs.tsv", "report.html")
RECORD = struct.Struct("<II")
HEADER_BYTES = 4096


@dataclass(frozen=True)
class Hit:
    """What was killed, in which stage, and whether that had a file open."""

    what: str
    stage: str
    writes: bool


class Victim:
    """The chain in a folder, which is started, killed, and looked at."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.results = folder / "results"
        self._mark = f"STRESS={os.getpid()}-{folder.name}"
        self._strangers: set[int] = set()
        make_inputs(folder / "inputs")
        settings = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
        settings["corpora"]["short"]["shards"] = 1
        settings["windowings"]["short-128"] |= {"stride_tokens": 16, "sampling": {}}
        settings["runs"]["main"]["train"] |= {"max_steps": UPDATES, "save_steps": 1}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake, its output into a file."""
        name, value = self._mark.split("=")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--configfile", str(self.folder / "config.yaml")]
        # Jobs of one thread run side by side.
        command += ["--set-threads", *(f"{rule}=1" for rule in (*LOCKED, "evaluate"))]
        command += ["--cores", "2", "--retries", "1"]
        environment = {name: value, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with open(self.folder / "output", "w") as output:
            return subprocess.Popen(
                [*command, *arguments],
                env=os.environ | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str) -> None:
        """Run Snakemake to its end, which must be a good one."""
        if self.start(*arguments).wait():
            sys.exit(f"{' '.join(arguments)} failed:\n{self.output()[-4000:]}")

    def output(self) -> str:
        """What the last call printed."""
        return (self.folder / "output").read_text()

    def processes(self) -> dict[int, list[str]]:
        """Command lines of all processes that a call started, orphans too, by pid."""
        found = {}
        mark = self._mark.encode()
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in self._strangers:
                continue
            try:
                if mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found[int(name)] = Path("/proc", name, "cmdline").read_text().split("\0")
                else:
                    self._strangers.add(int(name))
            except OSError:
                continue
        return {pid: words for pid, words in found.items() if words != [""]}

    def scripts(self) -> dict[int, str]:
        """The stages at work, by the pid of their script."""
        return {pid: stage for pid, words in self.processes().items() if (stage := _stage(words))}

    def around(self, pid: int) -> list[int]:
        """A script's shell, and what that started beside it."""
        shell = parent(pid)
        others = [other for other in self.processes() if parent(other) == shell and other != pid]
        return [shell, *others] if shell in self.processes() else [pid]

    def writes(self, pid: int) -> bool:
        """Whether a process has a file of the results open that is still in work."""
        try:
            names = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return False
        return any(
            name.startswith(str(self.results)) and re.search(r"\.tmp|\.partial|checkpoint|/model/", name)
            for name in names
        )

    def scored(self) -> dict[str, list[str]]:
        """Ids of the windows whose scores are whole on the disk, by table."""
        return {
            str(path.relative_to(self.folder)): whole_records(path)
            for path in self.results.glob("scores/*/*/*.partial")
        }

    def updates_saved(self) -> int:
        """Updates of the training that its last whole checkpoint holds."""
        saved = 0
        for path in self.results.glob("runs/*/*/*/checkpoints/checkpoint-*/trainer_state.json"):
            with contextlib.suppress(OSError, json.JSONDecodeError):  # not whole, or just taken away
                saved = max(saved, json.loads(path.read_text())["global_step"])
        return saved

    def updates_of_last_call(self) -> int:
        """Updates that the last call of the training made."""
        return sum(path.read_text().count("'loss':") for path in self.results.glob("logs/train/**/*.log"))

    def trained(self) -> bool:
        """Whether the training is finished."""
        return any(self.results.glob("runs/*/*/*/settings.json"))

    def digests(self) -> dict[str, str]:
        """Digests of the data: tables, weights, plans."""
        patterns = ("*.parquet", "*.safetensors", "plan/*.json", "*.jsonl.zst", "*.done", "*.tsv", "*.svg")
        files = {path for pattern in patterns for path in self.results.rglob(pattern)}
        files -= {path for pattern in TIMED for path in self.results.glob(pattern)}
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    def remove_results(self) -> None:
        """Begin anew."""
        subprocess.run(["rm", "-rf", self.results, self.folder / ".snakemake"], check=True)


def _stage(words: list[str]) -> str | None:
    if "--report" in words:
        return "report"
    if len(words) > 1 and words[1].endswith("/workflow/scripts/score_windows.py"):
        return _SCORE_RULES[words[words.index("--kind") + 1]]
    if len(words) > 1 and "/workflow/scripts/" in words[1]:
        return Path(words[1]).stem
    return None


def parent(pid: int) -> int | None:
    """The process that started one."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def whole_records(path: Path) -> list[str]:
    """Ids of the windows in the whole records of a partial score file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    place, ids = HEADER_BYTES, []
    while place + RECORD.size <= len(data):
        length, checksum = RECORD.unpack_from(data, place)
        payload = data[place + RECORD.size : place + RECORD.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        ids += pa.ipc.open_stream(payload).read_all().column("data_id").to_pylist()
        place += RECORD.size + length
    return ids


def kill(*pids: int) -> None:
    """SIGKILL to those that are still there."""
    for pid in dict.fromkeys(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def resume(pid: int) -> None:
    """Let a process that stands still go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


class Chain:
    """One chain from nothing to its end, and who kills in it."""

    def __init__(self, victim: Victim, draw: random.Random, kills: int):
        self.hits: list[Hit] = []
        self.refused = 0
        self._victim = victim
        self._draw = draw
        first = draw.sample(LOCKED, min(kills, len(LOCKED)))
        others = draw.sample(STAGES + LOCKED, kills - len(first))
        self._aims = Counter([*first, *others])
        self._seen: set[str] = set()
        self._kills = kills
        self._holds = draw.choice(LOCKED)
        self._held: set[int] = set()
        self._moments: dict[int, tuple[bool, float]] = {}
        self._scored: dict[str, list[str]] = {}
        self.saw_scores = False
        self._updates = 0

    def run(self) -> None:
        """Call until the chain has ended, and no orphan is left."""
        while True:
            before = len(self.hits)
            main = self._victim.start("all")
            code = self._follow(main)
            hits = self.hits[before:]
            if code and not hits:
                # An orphan is still at its work; it is named, and not disturbed.
                if " is held by " not in self._victim.output():
                    sys.exit(f"failed without a kill:\n{self._victim.output()[-4000:]}")
                self.refused += 1
            if not hits or hits[-1].what not in ("snakemake", "all"):
                self._release()
            else:
                self._victim.run("--unlock")
            self._check()
            if not code:
                return

    def _follow(self, main: subprocess.Popen) -> int:
        """Kill in the course of a call; its exit status."""
        deadline = time.monotonic() + SECONDS_A_CALL
        idle = time.monotonic() + self._draw.uniform(0.3, 10)
        while main.poll() is None:
            if time.monotonic() > deadline:
                sys.exit(f"a call takes over {SECONDS_A_CALL} s:\n{self._victim.output()[-4000:]}")
            running = self._victim.scripts()
            self._seen.update(running.values())
            self._aim_elsewhere(running)
            if self._wants("snakemake") and not running and time.monotonic() > idle:
                self._hit(main, "snakemake", "snakemake", None)
            aims = [pid for pid, stage in running.items() if self._wants(stage) and pid not in self._held]
            for pid in aims:
                if self._is_the_moment(pid):
                    self._strike(main, pid, running[pid])
                    break
            time.sleep(0.0005 if aims else 0.02)
        return main.wait()

    def _wants(self, stage: str) -> bool:
        return len(self.hits) < self._kills and self._aims[stage] > 0

    def _aim_elsewhere(self, running: dict[int, str]) -> None:
        """Aim at a later stage instead of one whose script was over before it was hit."""
        for pid in self._moments.keys() - running.keys():
            del self._moments[pid]
            if later := [stage for stage in STAGES[:-1] if stage not in self._seen]:
                self._aims[self._draw.choice(later)] += 1

    def _is_the_moment(self, pid: int) -> bool:
        """Whether a script has a file open or, for some, has run for a while."""
        if pid not in self._moments:
            at_open_file = self._draw.random() < 0.85
            self._moments[pid] = at_open_file, time.monotonic() + self._draw.uniform(0, 3)
        at_open_file, moment = self._moments[pid]
        if not at_open_file:
            return time.monotonic() >= moment
        if not self._victim.writes(pid):
            return False
        time.sleep(self._draw.choice((0, 0, self._draw.uniform(0, 0.3))))
        return True

    def _strike(self, main: subprocess.Popen, pid: int, stage: str) -> None:
        if stage == self._holds and stage not in (hit.stage for hit in self.hits):
            self._held.add(pid)
            what = "snakemake"
        else:
            what = self._draw.choice(("script", "script", "around", "snakemake", "all"))
        self._hit(main, what, stage, pid)

    def _hit(self, main: subprocess.Popen, what: str, stage: str, pid: int | None) -> None:
        """Kill; a script stands still meanwhile, so that it is known what it was at."""
        victim = self._victim
        try:
            if pid:
                os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            self._held.discard(pid)
            return
        if main.poll() is not None:
            self._release()
            return
        writes = bool(pid) and victim.writes(pid)
        if what == "around":
            kill(self._draw.choice(victim.around(pid)))
        else:
            kill(*{"script": [pid], "snakemake": [main.pid], "all": [main.pid, *victim.processes()]}[what])
        if what in ("snakemake", "all"):
            main.wait()
        if pid and pid not in self._held:
            resume(pid)
        self.hits.append(Hit(what, stage, writes))
        self._aims[stage] -= 1
        self._moments.pop(pid, None)
        if stage == "train" and what in ("script", "all"):
            self._updates = max(self._updates, victim.updates_saved())
        self._keep_scores()

    def _release(self) -> None:
        """Let the orphans that were held back go on, and all orphans end."""
        for pid in self._held:
            resume(pid)
        self._held.clear()
        deadline = time.monotonic() + SECONDS_A_CALL
        while self._victim.scripts():
            if time.monotonic() > deadline:
                sys.exit(f"orphans do not end: {self._victim.processes()}")
            time.sleep(0.1)

    def _keep_scores(self) -> None:
        found = self._victim.scored()
        for name, ids in self._scored.items():
            final = self._victim.folder / name.removesuffix(".partial")
            lost = set(ids) - set(found.get(name, []))
            if lost and not final.exists():
                sys.exit(f"{name}: {len(lost)} of {len(ids)} scores on the disk are no longer there")
        for name, ids in found.items():
            if len(ids) > len(set(ids)):
                sys.exit(f"{name}: a window was scored twice")
        self._scored = found
        self.saw_scores = self.saw_scores or any(found.values())

    def _check(self) -> None:
        self._keep_scores()
        made = self._victim.updates_of_last_call()
        if self._victim.trained() and made > UPDATES - self._updates:
            sys.exit(f"training made {made} of {UPDATES} updates, {self._updates} were saved before")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    hits, refused, chains, start = Counter(), 0, 0, time.monotonic()
    saw_scores = False
    with tempfile.TemporaryDirectory(prefix="longspan-kill-") as temporary:
        victim = Victim(Path(temporary))
        victim.run("all")
        expected = victim.digests()
        print(f"unbroken: {len(expected)} files in {time.monotonic() - start:.0f} s", flush=True)
        while hits.total() < options.kills:
            victim.remove_results()
            chain = Chain(victim, draw, min(KILLS_A_CHAIN, options.kills - hits.total()))
            chain.run()
            compare(victim, expected)
            hits.update(chain.hits)
            refused += chain.refused
            saw_scores = saw_scores or chain.saw_scores
            chains += 1
            print(f"chain {chains}: {len(chain.hits)} kills, {time.monotonic() - start:.0f} s", flush=True)
    report(hits)
    scoring = sum(count for hit, count in hits.items() if hit.stage.startswith("score_") and hit.writes)
    if scoring >= 5 and not saw_scores:
        sys.exit("no score was seen on the disk at any kill, so that none was lost says nothing")
    print(f"{refused} calls were refused, because an orphan was at work")
    print(f"{hits.total()} kills over {chains} chains, each ended with the data of the unbroken one")


def compare(victim: Victim, expected: dict[str, str]) -> None:
    """Stop if the data are not those of the unbroken run."""
    found = victim.digests()
    differing = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if differing:
        sys.exit(f"differ from the unbroken run: {', '.join(differing)}")


def report(hits: Counter) -> None:
    """Print how often each stage was hit, and by what."""
    kinds = sorted({hit.what for hit in hits})
    print(f"{'stage':<22} kills  file open  " + "  ".join(kinds))
    for stage in (*STAGES, *LOCKED):
        here = Counter({hit: count for hit, count in hits.items() if hit.stage == stage})
        if here:
            opened = sum(count for hit, count in here.items() if hit.writes)
            counts = (sum(count for hit, count in here.items() if hit.what == kind) for kind in kinds)
            line = "  ".join(f"{count:>{len(kind)}}" for kind, count in zip(kinds, counts, strict=True))
            print(f"{stage:<22} {here.total():>5}  {opened:>9}  {line}  {'#' * here.total()}")


if __name__ == "__main__":
    main()
