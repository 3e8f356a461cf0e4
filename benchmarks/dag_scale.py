"""What the DAG costs: a dry run from nothing, a no-op after the end, and a job beyond its work.

    python benchmarks/dag_scale.py [--shards 4000] [--folder DIR]

Makes a folder with the settings of configs/tiny.yaml for so many shards (six jobs each) and, for the no-op,
the state after a whole run: its files are empty, Snakemake's records of them are written by Snakemake. Beside
it stands a Snakefile of six rules a shard and nothing else: no checkpoint, no function, no parameter, no log.
It says how much of the time is Snakemake's own on this machine. A job's cost is measured over 52 jobs that do
nothing.
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

from longspan.corpora.plan_index import made_from, plan_index, raw_files
from longspan.store.code import code_digest
from longspan_workflow.running.project import script as script_path
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring

ROOT = Path(__file__).parents[1]
# Six jobs a shard and their joins, in the chain's shape.
PLAIN = """
import atexit
import gc
gc.disable()
atexit.register(gc.freeze)
SHARDS = [f"{number:05d}" for number in range(%d)]
rule all:
    input: "plain/selection", "plain/index", "plain/funnel", "plain/card"
rule model:
    output: "plain/model"
    shell: "touch {output}"
rule read:
    output: "plain/documents/{shard}"
    shell: "touch {output}"
rule tokenize:
    input: "plain/documents/{shard}", "plain/model"
    output: "plain/tokens/{shard}"
    shell: "touch {output}"
rule cut:
    input: "plain/documents/{shard}", "plain/tokens/{shard}", "plain/model"
    output: "plain/windows/{shard}"
    shell: "touch {output}"
rule score_short:
    input: "plain/tokens/{shard}", "plain/windows/{shard}", "plain/model"
    output: "plain/short/{shard}"
    shell: "touch {output}"
rule score_attention:
    input: "plain/tokens/{shard}", "plain/windows/{shard}", "plain/model"
    output: "plain/attention/{shard}"
    shell: "touch {output}"
rule select:
    input: expand("plain/attention/{shard}", shard=SHARDS)
    output: "plain/selection"
    shell: "touch {output}"
rule collect:
    input: expand("plain/short/{shard}", shard=SHARDS)
    output: "plain/index"
    shell: "touch {output}"
rule export:
    input: "plain/documents/{shard}", "plain/tokens/{shard}", "plain/windows/{shard}"
    output: "plain/export/{shard}"
    shell: "touch {output}"
rule card:
    input: expand("plain/export/{shard}", shard=SHARDS)
    output: "plain/card"
    shell: "touch {output}"
rule count:
    input: expand("plain/documents/{shard}", shard=SHARDS), expand("plain/windows/{shard}", shard=SHARDS)
    output: "plain/funnel"
    shell: "touch {output}"
"""
# Snakemake makes the DAG, and instead of running its jobs records them as finished. (--touch records nothing
# for files that are up to date, and waits a tenth of a second for each other job.)
RECORD = """
import sys
from snakemake.cli import main
from snakemake.workflow import Workflow

build = Workflow._build_dag

def build_and_record(self):
    build(self)
    async def record():
        for job in self.dag.jobs:
            if job.output:
                await self.persistence.finished(job)
    self.async_run(record())

Workflow._build_dag = build_and_record
main(sys.argv[1:])
"""


def snakemake(
    folder: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile", script: tuple = ("-m", "snakemake")
) -> tuple[float, str]:
    """Run Snakemake, or a script around it, in a folder; seconds and output."""
    command = [sys.executable, *script, "--snakefile", str(snakefile), "--directory", str(folder)]
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


def prepare(folder: Path, shards: int) -> Path:
    """Write settings and inputs; the file with the settings."""
    settings = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
    settings["corpora"]["short"]["shards"] = shards
    configfile = folder / "config.yaml"
    configfile.write_text(yaml.safe_dump(settings))
    for name in ("prose/prose_0.txt", "rows.jsonl", "model/config.json"):
        path = folder / "inputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return configfile


def finish(folder: Path, dry_run: str, *arguments: str, plan: Path | None = None, **options: Path) -> None:
    """Make every output as an empty file, except the plan for some settings, and let Snakemake record it."""
    for line in re.findall(r"^    output: (.+)$", dry_run, re.MULTILINE):
        for name in line.split(", "):
            path = folder / name.removesuffix(" (update)")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    if plan:
        os.chdir(folder)  # the settings' paths begin there
        wiring = Wiring(load_settings(yaml.safe_load(plan.read_text())))
        corpus = wiring.settings.corpora["short"]
        planned = wiring.texts.plan_settings(corpus)
        digests = dict.fromkeys(corpus.all_shard_names, "digest")
        made = made_from(planned, raw_files(planned), code_digest(script_path("plan_shards")))
        index = Path(wiring.places.plan_index.format(corpus="short"))
        index.write_text(json.dumps(plan_index(made, digests)))
    snakemake(
        folder, *arguments, "--dry-run", "--quiet", "all", "--", "all", script=("-c", RECORD), **options
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="where to work; otherwise a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(exist_ok=True)
        configfile = prepare(folder, options.shards)
        plain = folder / "Snakefile.plain"
        plain.write_text(PLAIN % options.shards)
        for title, more, kind, plan in (
            ("as many shards and nothing else", [], {"snakefile": plain}, None),
            ("the workflow", ["--configfile", str(configfile)], {}, configfile),
        ):
            seconds, output = snakemake(folder, *more, "--dry-run", "all", **kind)
            jobs = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])
            table, _ = snakemake(folder, *more, "--dry-run", "--quiet", "--", "all", **kind)
            print(
                f"{title}: dry run from nothing {seconds:.1f} s for {jobs:,} jobs, "
                f"their table alone (--quiet) {table:.1f} s",
                flush=True,
            )
            finish(folder, output, *more, plan=plan, **kind)
            for name, run in (("dry run after the end", ["--dry-run"]), ("no-op", ["--cores", "1"])):
                seconds, output = snakemake(folder, *more, *run, "all", **kind)
                assert "Nothing to be done" in output, output[-2000:]
                assert "missing provenance" not in output, output[-2000:]
                print(f"{title}: {name} {seconds:.1f} s", flush=True)
        plain.write_text(PLAIN.replace("plain/", "few/") % 8)
        seconds, _ = snakemake(folder, "--cores", "1", "all", snakefile=plain)
        nothing, _ = snakemake(folder, "--cores", "1", "all", snakefile=plain)
        print(f"a local job beyond its work: {(seconds - nothing) / 52:.2f} s")


if __name__ == "__main__":
    main()
