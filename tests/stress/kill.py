"""Kill the workflow at random moments, aiming at stages that have a file open, and show that nothing is lost.

    python tests/stress/kill.py [--kills 100] [--seed 0]

Runs the chain over small inputs once unbroken. Then again and again with SIGKILL: to a job's script, to
Snakemake alone, whose jobs live on, or to all at once; each time the same command goes on, after `snakemake
--unlock` where Snakemake was killed. Whenever a chain ends, its tables and weights must have the bytes of the
unbroken run. Scores that were on the disk at a kill must be there at the next: it costs the window at work.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tiny_inputs import make_inputs  # noqa: E402

# Times are no data.
TIMED = "speed.parquet"
RECORD = struct.Struct("<II")
HEADER_BYTES = 4096
# A kill waits so many seconds for an open file.
PATIENCE = 20.0


class Victim:
    """The chain in a folder, which is started, killed, and looked at."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.mark = f"STRESS={os.getpid()}-{folder.name}"
        make_inputs(folder / "inputs")
        settings = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
        settings["windowings"]["short-128"] |= {"stride_tokens": 16, "sampling": {}}
        settings["runs"]["main"]["train"] |= {"max_steps": 12, "save_steps": 1}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake, its output into a file."""
        name, value = self.mark.split("=")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--configfile", str(self.folder / "config.yaml")]
        with open(self.folder / "output", "w") as output:
            return subprocess.Popen(
                [*command, "--cores", "2", *arguments],
                env=os.environ | {name: value, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """What the last call printed."""
        return (self.folder / "output").read_text()

    def processes(self) -> dict[int, list[str]]:
        """Command lines of all processes that a call started, orphans too, by pid."""
        found = {}
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdigit() and self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_text().split("\0")
            except OSError:
                continue
        return {pid: words for pid, words in found.items() if words != [""]}

    def scripts(self) -> dict[int, str]:
        """The scripts that run, by pid."""
        return {
            pid: Path(words[1]).stem
            for pid, words in self.processes().items()
            if len(words) > 1 and "/workflow/scripts/" in words[1]
        }

    def writes(self, pid: int) -> bool:
        """Whether a process has a file of the results open that is still in work."""
        try:
            names = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return False
        return any(
            name.startswith(str(self.folder / "results"))
            and (".tmp" in name or ".partial" in name or "checkpoint" in name)
            for name in names
        )

    def scored(self) -> dict[str, int]:
        """Windows whose scores are whole on the disk, by table."""
        return {
            str(path.relative_to(self.folder)): whole_records(path)
            for path in (self.folder / "results").glob("scores/*/*/*.partial")
        }

    def digests(self) -> dict[str, str]:
        """Digests of the data: tables, weights, plans."""
        files = [
            path
            for pattern in ("*.parquet", "*.safetensors", "plan/*.json", "*.jsonl.zst", "*.done")
            for path in (self.folder / "results").rglob(pattern)
        ]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.name != TIMED
        }

    def remove_results(self) -> None:
        """Begin anew."""
        subprocess.run(["rm", "-rf", self.folder / "results", self.folder / ".snakemake"], check=True)


def whole_records(path: Path) -> int:
    """Number of windows in the whole records of a partial score file."""
    data, place, count = path.read_bytes(), HEADER_BYTES, 0
    while place + RECORD.size <= len(data):
        length, checksum = RECORD.unpack_from(data, place)
        payload = data[place + RECORD.size : place + RECORD.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        place, count = place + RECORD.size + length, count + 1
    return count


def strike(victim: Victim, main: subprocess.Popen, draw: random.Random) -> tuple[str, str, bool] | None:
    """Kill something at a random moment; what, in which stage, and whether it had a file open."""
    at_open_file = draw.random() < 0.8
    until = time.monotonic() + (PATIENCE if at_open_file else draw.uniform(0.5, 12))
    stage, pid, writes = "snakemake", None, False
    while time.monotonic() < until:
        if main.poll() is not None:
            return None
        if at_open_file:
            writing = [(pid, stage) for pid, stage in victim.scripts().items() if victim.writes(pid)]
            if writing:
                time.sleep(draw.choice((0, 0, draw.uniform(0, 0.3))))
                (pid, stage), writes = draw.choice(writing), True
                break
        time.sleep(0.005)
    running = victim.scripts()
    if pid not in running and running:
        pid, stage = draw.choice(list(running.items()))
    if main.poll() is not None:
        return None
    writes = pid is not None and victim.writes(pid)
    what = draw.choice(("script", "script", "snakemake", "all"))
    if what == "script" and pid is None:
        what = "snakemake"
    pids = {"script": [pid], "snakemake": [main.pid], "all": [main.pid, *victim.processes()]}[what]
    for number in dict.fromkeys(pids):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return what, stage, writes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="longspan-kill-") as temporary:
        victim = Victim(Path(temporary))
        start = time.monotonic()
        if victim.start("all").wait():
            sys.exit(victim.output()[-4000:])
        expected = victim.digests()
        print(f"unbroken: {len(expected)} files in {time.monotonic() - start:.0f} s", flush=True)
        histogram, chains, refused, before = Counter(), 0, 0, {}
        victim.remove_results()
        while sum(histogram.values()) < options.kills:
            process = victim.start("all")
            hit = strike(victim, process, draw)
            code = process.wait()
            if hit:
                histogram[hit] += 1
                if hit[0] != "script":
                    unlock(victim)
            elif code:
                # An orphan is still at its work; it is named, and not disturbed.
                if " is held by " not in victim.output():
                    sys.exit(f"failed without a kill:\n{victim.output()[-4000:]}")
                refused += 1
            after = victim.scored()
            for name, count in before.items():
                final = victim.folder / name.removesuffix(".partial")
                if after.get(name, 0) < count and not final.exists():
                    sys.exit(f"{name}: {count} scores were on the disk, {after.get(name, 0)} are left")
            before = after
            if not hit and not code:
                chains += 1
                compare(victim, expected)
                victim.remove_results()
                before = {}
        while victim.scripts():
            time.sleep(0.2)
        if victim.start("all").wait():
            sys.exit(victim.output()[-4000:])
        compare(victim, expected)
    print(f"{sum(histogram.values())} kills over {chains + 1} chains, each ended as the unbroken one")
    print(f"{refused} calls were refused, because an orphan was at work")
    stages = Counter()
    for (_, stage, writes), count in histogram.items():
        stages[stage, writes] += count
    for what in ("script", "snakemake", "all"):
        print(f"  killed {what:<10} {sum(n for (kind, *_), n in histogram.items() if kind == what)}")
    for (stage, writes), count in sorted(stages.items()):
        print(f"  in {stage:<22} {'file open' if writes else '         '} {count}")
    print(json.dumps({" ".join(map(str, key)): count for key, count in sorted(histogram.items())}))


def unlock(victim: Victim) -> None:
    """The one command after Snakemake itself was killed."""
    if victim.start("--unlock").wait():
        sys.exit(victim.output()[-4000:])


def compare(victim: Victim, expected: dict[str, str]) -> None:
    """Stop if the data are not those of the unbroken run."""
    found = victim.digests()
    differing = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if differing:
        sys.exit(f"differ from the unbroken run: {', '.join(differing)}")


if __name__ == "__main__":
    main()
