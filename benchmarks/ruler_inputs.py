"""Making RULER's samples: longspan's way and the published generators', on the same tokenizer.

    python benchmarks/ruler_inputs.py --folder /tmp/ruler --model results/models/smollm2-135m
        [--lengths 4096 8192 16384 32768 65536] [--samples 100]
        [--published-lengths 4096] [--published-tasks vt qa_1 …] [--published-samples 2 6]

longspan makes all 13 tasks at all lengths, as rule make_task does: a process for each length, up to a table.
The published generators make some tasks at some lengths, twice: with a few samples and with some more. From
these two follow the seconds of CPU before the first sample (word lists, the search for the length) and those
of each sample, so the seconds that as many samples as longspan's would take. No length is extrapolated from
another, and their import of transformers is not counted. The folder is that of tests/ruler/compare.py.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests"), str(ROOT / "tests/ruler")]

from compare import BASE_FORM, prepare  # noqa: E402

from longspan.evaluation.ruler.published import ARCHIVES, TASKS  # noqa: E402


def own_seconds(folder: Path, model: Path, length: int, samples: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads, of rule make_task's script."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, str(ROOT / "workflow/scripts/make_task.py"), "--task", "ruler"),
                *("--settings", json.dumps({"samples": samples, "haystack": "essays", "seed": 0})),
                *("--length", str(length), "--model", str(model / "longspan.json")),
                *("--archives", *(str(folder / archive.archive) for archive in ARCHIVES)),
                *("--inputs", f"{out}/{length}.parquet"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--published-lengths", type=int, nargs="*", default=[4096])
    parser.add_argument("--published-tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--published-samples", type=int, nargs=2, default=[2, 6])
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; {arguments.samples} samples a task")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    published, generators = prepare(arguments.folder)

    total, total_cpu = 0.0, 0.0
    for length in arguments.lengths:
        wall, cpu = own_seconds(arguments.folder, arguments.model, length, arguments.samples)
        total, total_cpu = total + wall, total_cpu + cpu
        print(f"longspan, 13 tasks at {length}: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)
    print(f"longspan, 13 tasks at {len(arguments.lengths)} lengths: {total:.1f} s, {total_cpu:.1f} s of CPU")

    few, more = arguments.published_samples
    for length in arguments.published_lengths:
        sum_seconds = 0.0
        times = {}
        for samples in (few, more):
            generators.samples(
                published, arguments.model, arguments.published_tasks, length, samples, 42, BASE_FORM
            )
            times[samples] = dict(generators.seconds)
        for name in arguments.published_tasks:
            each = max(0.0, (times[more][name] - times[few][name]) / (more - few))
            before = times[few][name] - few * each
            seconds = before + arguments.samples * each
            sum_seconds += seconds
            found = f"{times[few][name]:.1f} s for {few}, {times[more][name]:.1f} s for {more}"
            rates = f"{before:.1f} s + {each:.2f} s a sample, {seconds:.0f} s of CPU for {arguments.samples}"
            print(f"published, {name} at {length}: {found}; so {rates}", flush=True)
        print(
            f"published, {len(arguments.published_tasks)} tasks at {length}: {sum_seconds:.0f} s of CPU "
            f"for {arguments.samples} samples each (extrapolated over samples)"
        )


if __name__ == "__main__":
    main()
