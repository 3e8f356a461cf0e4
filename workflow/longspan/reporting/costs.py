"""What the jobs of each rule took, out of the tables that Snakemake's `benchmark:` leaves."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

COLUMNS = ("rule", "jobs", "wall_seconds", "cpu_seconds", "largest_memory_mb")


def cost_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """A row for each rule: jobs, wall and CPU seconds of all, and the largest memory (MB) of one.

    A job that ended at once is not measured: its seconds count, and its memory is unknown.

    Args:
        folder: of the tables, with a folder for each rule.
    """
    found: dict[str, list[dict]] = defaultdict(list)
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(newline="") as file:
            found[path.relative_to(folder).parts[0]] += csv.DictReader(file, delimiter="\t")
    for rule, jobs in found.items():
        memory = [value for job in jobs if (value := _number(job["max_rss"])) is not None]
        yield (
            rule,
            f"{len(jobs):,}",
            f"{_total(jobs, 's'):,.1f}",
            f"{_total(jobs, 'cpu_time'):,.1f}",
            f"{max(memory):,.0f}" if memory else "",
        )


def _total(jobs: list[dict], column: str) -> float:
    return sum(_number(job[column]) or 0 for job in jobs)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
