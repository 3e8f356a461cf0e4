"""What the DAG costs: a dry run from nothing, a no-op after the end, and a job beyond its work.

    python benchmarks/dag_scale.py [--shards 4000] [--folder DIR]

Makes a folder with the settings of configs/tiny.yaml for so many shards (five jobs each) and, for the no-op,
the state after a whole run: its files are empty, Snakemake's records of them are real. The same dry run of a
Snakefile that has as many jobs and nothing else says how much of the time is Snakemake's own on this machine.
A job's cost is measured over 40 jobs of which each does nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PLAIN = """
SHARDS = [f"{number:05d}" for number in range(%d)]
rule all:
    input: expand("plain/{stage}/{shard}", stage=range(5), shard=SHARDS)
rule step:
    output: "plain/{stage}/{shard}"
    shell: "touch {output}"
"""


def snakemake(folder: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile") -> tuple[float, str]:
    """Run Snakemake in a folder; seconds and output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder)]
    start = time.perf_counter()
    result = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    if result.returncode:
        sys.exit(result.stdout[-4000:])
    return time.perf_counter() - start, result.stdout


def prepare(folder: Path, shards: int) -> list[str]:
    """Write settings and inputs; the arguments that name them."""
    settings = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
    settings["corpora"]["short"]["shards"] = shards
    configfile = folder / "config.yaml"
    configfile.write_text(yaml.safe_dump(settings))
    for name in ("prose/prose_0.txt", "rows.jsonl", "model/config.json"):
        path = folder / "inputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return ["--configfile", str(configfile)]


def finish(folder: Path, arguments: list[str], dry_run: str, shards: int) -> None:
    """Make every output as an empty file and let Snakemake record it."""
    for line in re.findall(r"^    output: (.+)$", dry_run, re.MULTILINE):
        for name in line.split(", "):
            path = folder / name.removesuffix(" (update)")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    names = [*(f"{number:05d}" for number in range(shards)), "held_out"]
    index = folder / "results" / "corpora" / "short" / "plan.json"
    index.write_text(json.dumps(dict.fromkeys(names, "digest")))
    # All at once: each round of the scheduler looks at all jobs that are ready.
    snakemake(folder, *arguments, "--touch", "--quiet", "all", "--cores", "1000000", "all")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="where to work; otherwise a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        arguments = prepare(folder, options.shards)
        plain = folder / "Snakefile.plain"
        plain.write_text(PLAIN % options.shards)
        seconds, _ = snakemake(folder, "--dry-run", "all", snakefile=plain)
        print(f"dry run of as many jobs and nothing else: {seconds:.1f} s", flush=True)
        seconds, output = snakemake(folder, *arguments, "--dry-run", "all")
        jobs = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])
        print(f"dry run from nothing: {seconds:.1f} s for {jobs:,} jobs", flush=True)
        finish(folder, arguments, output, options.shards)
        for name, more in (("dry run after the end", ["--dry-run"]), ("no-op", ["--cores", "1"])):
            seconds, output = snakemake(folder, *arguments, *more, "all")
            assert "Nothing to be done" in output, output[-2000:]
            print(f"{name}: {seconds:.1f} s", flush=True)
        plain.write_text(PLAIN % 8)
        seconds, _ = snakemake(folder, "--cores", "1", "all", snakefile=plain)
        nothing, _ = snakemake(folder, "--cores", "1", "all", snakefile=plain)
        print(f"a local job beyond its work: {(seconds - nothing) / 40:.2f} s")


if __name__ == "__main__":
    main()
