"""How far a run is, out of its files alone: no lock is taken, and nothing is written.

A job is finished when its output is there, which is written whole or not at all. Whether that output is still
what the settings ask for, only a dry run of Snakemake can tell.
"""

import csv
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from longspan.reporting.summary import format_rows
from longspan.scoring.kind import SCORER_KINDS
from longspan.store.shards import HELD_OUT
from longspan.store.tables import open_table
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.wiring import Wiring

_TAIL = 65536  # bytes of a log that are looked at
_PROGRESS = re.compile(r"(\d+)%\|[^|]*\| *(\S+/\S+ \[.*?\])")
_ERROR = re.compile(r"^\S*\s*\w+: error: (.*)|^(?:\w+\.)*(\w+(?:Error|Exception)\b.*)", re.MULTILINE)
_RECENT = 900  # seconds for which a log that does not grow still stands for a running job


@dataclass(frozen=True)
class Job:
    """A job of a stage.

    Attributes:
        rule: its rule.
        name: its names, as its log has them.
        output: a file that is there when it is finished.
        log: its log.
        benchmark: what it took, when it is finished.
    """

    rule: str
    name: str
    output: Path
    log: Path
    benchmark: Path

    @property
    def is_finished(self) -> bool:
        """Whether its output is there."""
        return self.output.exists()

    @property
    def seconds(self) -> float | None:
        """What it took; None if that is not known."""
        try:
            with self.benchmark.open(newline="") as file:
                return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
        except (OSError, ValueError, KeyError):
            return None


def status(wiring: Wiring) -> str:
    """Stages with their jobs, tokens, what runs, what failed and why, and GPU-hours, in words and tables.

    Raises:
        ValueError: a table of windows that is damaged.
    """
    jobs = list(_jobs(wiring))
    failed, running = _failures(jobs), list(_running(jobs))
    parts = [_stages(jobs)]
    if tokens := list(_tokens(wiring)):
        parts.append(format_rows([("windowing", "shards", "windows", "tokens"), *tokens]))
    if running:
        parts.append("At work, by their logs:\n" + "\n".join(f"  {line}" for line in running))
    if failed:
        lines = [
            f"  {len(own)} × {cause}\n      the log of one: {own[0].log}" for cause, own in failed.items()
        ]
        parts.append("Failed:\n" + "\n".join(lines))
    parts.append(_gpu_hours(wiring, jobs))
    return "\n\n".join(filter(None, parts))


def _stages(jobs: list[Job]) -> str:
    rows = [("stage", "finished", "seconds a job", "left, one by one")]
    for rule in dict.fromkeys(job.rule for job in jobs):
        own = [job for job in jobs if job.rule == rule]
        finished = [job for job in own if job.is_finished]
        taken = [seconds for job in finished if (seconds := job.seconds) is not None]
        mean, left = (sum(taken) / len(taken) if taken else None), len(own) - len(finished)
        rows.append(
            (
                rule,
                f"{len(finished):,} of {len(own):,}",
                "" if mean is None else f"{mean:,.1f}",
                "" if not left else "unknown" if mean is None else _duration(mean * left),
            )
        )
    return format_rows(rows)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _tokens(wiring: Wiring) -> Iterator[tuple[str, ...]]:
    """Windows that are cut, by windowing."""
    for windowing in Used(wiring.settings).windowings:
        here = wiring.places.here
        paths = [Path(here(path)) for path in wiring.windows.all_windows(windowing)]
        there = [path for path in paths if path.exists()]
        windows = sum(open_table(path, "windows")[1].rows for path in there)
        shards = f"{len(there):,} of {len(paths):,}"
        yield windowing.key, shards, f"{windows:,}", f"{windows * windowing.window_tokens:,}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            return file.read().decode("utf-8", "replace").replace("\r", "\n")
    except OSError:
        return ""


def _running(jobs: Iterable[Job]) -> Iterator[str]:
    now = time.time()
    for job in jobs:
        if job.is_finished or not job.log.exists() or _cause(job):
            continue
        age = now - job.log.stat().st_mtime
        if age > _RECENT:
            continue
        text = _tail(job.log)
        found = list(_PROGRESS.finditer(text))
        last = next(
            (line for line in reversed(text.splitlines()) if line.strip()), "it has not said anything yet"
        )
        said = f"{found[-1][1]}%, {found[-1][2]}" if found else last[:120]
        yield f"{job.rule} {job.name}: {said} ({age:.0f} s ago)"


def _cause(job: Job) -> str | None:
    """The error that a job ended with, by its log; None if there is none."""
    found = list(_ERROR.finditer(_tail(job.log)))
    return None if not found else (found[-1][1] or found[-1][2]).strip()


def _failures(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """Jobs that ended with an error and have not been finished since, by their cause without its numbers."""
    groups: dict[str, list[Job]] = {}
    words: dict[str, str] = {}
    for job in jobs:
        if not job.is_finished and (cause := _cause(job)):
            key = re.sub(r"\S*/\S*|\d+", "#", cause)
            groups.setdefault(key, []).append(job)
            words.setdefault(key, cause)
    return {words[key]: own for key, own in sorted(groups.items(), key=lambda item: -len(item[1]))}


def _gpu_hours(wiring: Wiring, jobs: Iterable[Job]) -> str:
    """Hours of the jobs that ask for devices, against the estimate if one was made."""
    score_rules = {kind.rule for kind in SCORER_KINDS}
    devices = {run.key: run.train.devices * run.train.nodes for run in wiring.settings.runs.values()}
    spent = 0.0
    for job in jobs:
        if job.rule in {*score_rules, "train", "evaluate"} and job.is_finished:
            many = devices[job.name.partition("/")[0]] if job.rule == "train" else 1
            spent += many * (job.seconds or 0.0) / 3600
    text = f"GPU-hours of finished jobs (or of the CPU in their place): {spent:,.2f}"
    path = Path(wiring.places.here(wiring.places.estimate))
    if not path.exists():
        return f"{text}; no estimate was made (snakemake estimate)"
    with path.open(newline="", encoding="utf-8") as file:
        hours = [row["gpu_hours"] for row in csv.DictReader(file, delimiter="\t")]
    known = sum(float(value) for value in hours if value != "unknown")
    return f"{text}; estimated for all of them: {known:,.2f}"


# Jobs


def _jobs(wiring: Wiring) -> Iterator[Job]:
    settings, places, used = wiring.settings, wiring.places, Used(wiring.settings)

    def job(rule: str, template: str, *logged: str, **names: str) -> Job:
        def here(path: str) -> Path:
            return Path(places.here(path.format(**names)))

        log, benchmark = (make(rule, *logged) for make in (places.log, places.benchmark))
        name = "/".join(names[one] for one in logged) or "all"
        return Job(rule, name, here(template), here(log), here(benchmark))

    for model in used.models:
        yield job("download_model", places.model, "model", model=model.key)
    for corpus in used.corpora:
        for shard in corpus.all_shard_names:
            yield job("read_documents", places.documents, "corpus", "shard", corpus=corpus.key, shard=shard)
    for corpus, model in used.tokenized:
        for shard in corpus.all_shard_names:
            names = {"corpus": corpus.key, "tokenizer": model.key, "shard": shard}
            yield job("tokenize_documents", places.tokens, *names, **names)
    for windowing in used.windowings:
        for shard in windowing.corpus.all_shard_names:
            names = {"windowing": windowing.key, "shard": shard}
            yield job("assign_windows", places.windows, *names, **names)
    for windowing, scorer in used.stores:
        for shard in settings.windowings[windowing].corpus.shard_names:
            names = {"windowing": windowing, "scorer": scorer, "shard": shard}
            yield job(settings.scorers[scorer].rule, places.scores, *names, **names)
    for selection in used.compared_selections:
        yield job("select_windows", places.selection, "selection", selection=selection.key)
    for export in settings.exports.values():
        for shard in export.windowing.corpus.shard_names:
            names = {"export": export.key, "shard": shard, "ending": export.ending}
            yield job("export_windows", places.export_data, *names, **names)
    for names in wiring.runs.trainings():
        yield job("train", f"{places.run}/metrics.parquet", "run", "loss", "seed", **names)
    for run in settings.runs.values():
        for evaluation in wiring.evaluations.of_run(run):
            for trained in wiring.evaluations.measured(run):
                names = {"run": run.key, "trained": trained, "evaluation": evaluation}
                yield job("evaluate", places.evaluation, *names, **names)
    for windowing in used.windowings:
        for shard in (*windowing.corpus.shard_names, HELD_OUT):
            names = {"windowing": windowing.key, "shard": shard}
            yield job("aggregate_shard", places.shard_aggregate, *names, **names)
    yield job("build_report", places.page)
