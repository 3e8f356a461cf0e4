"""What a cascade keeps of its last stage's choice, and what it costs, on the texts of some settings.

    python benchmarks/cascade.py --configfile benchmarks/cascade.yaml --selection funnel \
        --results /scratch/cascade [--top 0.2] [--cores 8] [--gpus 1]

Runs the workflow up to two selections: the cascade as the settings have it, and its last stage alone over all
windows, by a scorer of its own with the same settings, which keeps the best `--top`. It prints the share of
the last stage's choice that the cascade keeps too, and the share that came as far as its last stage. Cost is
told in three ways: tokens that each scorer ran over; seconds on a device of `device.tflops` by the scorer's
FLOPs, without the start of a job; and measured seconds of the jobs, of which loading and compilation are a
part. Goal: at least 90% of the windows at no more than a fifth of the cost.

Paths in the settings are relative to the folder in which this is called. A second call goes on where the
first one stopped; measured seconds are those of each job's last run.
"""

import argparse
import copy
import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from longspan.store.tables import open_table, read_table
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.settings.blocks import Cascade, ScorerBlock, Settings
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring

ROOT = Path(__file__).parents[1]
ALONE = "last-stage-alone"
_SECTIONS = ("seed", "downloads_dir", "device", "models", "corpora", "windowings", "scorers")


def compared_settings(given: dict, selection: str, results: str, top: float) -> dict:
    """Settings of the cascade and of its last stage alone, which keeps the best `top`; no runs.

    Raises:
        ValueError: the selection is no cascade whose last stage has a scorer.
    """
    cascade = given.get("selections", {}).get(selection, {})
    *_, last = cascade.get("stages", [{}])
    if "scorer" not in last:
        raise ValueError(f"selections.{selection} is no cascade whose last stage has a scorer; name another")
    settings = {name: copy.deepcopy(given[name]) for name in _SECTIONS if name in given}
    settings["scorers"][ALONE] = copy.deepcopy(settings["scorers"][last["scorer"]])
    alone = last | {"windowing": cascade["windowing"], "scorer": ALONE, "keep": {"ratio": top}}
    settings["results_dir"] = results
    settings["selections"] = {selection: cascade, ALONE: alone}
    settings["exports"] = {name: {"selection": name} for name in settings["selections"]}
    return settings


def shares(cascade: pd.DataFrame, alone: pd.DataFrame) -> tuple[float, float]:
    """Shares of what the last stage alone keeps: that the cascade keeps, and that came to its last stage."""
    both = alone.merge(cascade, on="data_id", suffixes=("_alone", ""), validate="one_to_one")
    chosen = both[both["kept_alone"]]
    return float(chosen["kept"].mean()), float(chosen["score"].notna().mean())


@dataclass(frozen=True)
class Cost:
    """What something took: tokens scored, seconds by FLOPs (None of an unknown shape), seconds measured."""

    tokens: int
    estimated: float | None
    measured: float

    @classmethod
    def of_store(cls, wiring: Wiring, windowing: str, scorer: ScorerBlock) -> "Cost":
        """A scorer over a windowing, all shards."""
        block = wiring.settings.windowings[windowing]
        paths = wiring.scores.of_all_shards(block, scorer)
        windows = sum(open_table(path, scorer.table)[1].rows for path in paths)
        shape, estimated = JobNeeds(wiring).shape(scorer.model), None
        if shape is not None:
            none, all_windows = (
                scorer.needs(
                    shape,
                    number,
                    window_tokens=block.window_tokens,
                    dtype=scorer.model.dtype,
                    compile_layers=scorer.model.compile_layers,
                    device_flops=wiring.settings.device.tflops * 1e12,
                ).seconds
                for number in (0, windows)
            )
            estimated = all_windows - none
        folder = Path(wiring.places.benchmarks, scorer.rule, windowing, scorer.key)
        return cls(windows * block.window_tokens, estimated, seconds_in(folder.glob("*.tsv")))

    @classmethod
    def of_choice(cls, wiring: Wiring, stage: str) -> "Cost":
        """The job that ranks windows, which for some methods reads their texts."""
        return cls(0, 0.0, seconds_in([Path(wiring.places.benchmarks, "select_windows", f"{stage}.tsv")]))

    def __add__(self, other: "Cost") -> "Cost":
        estimated = None if None in (self.estimated, other.estimated) else self.estimated + other.estimated
        return Cost(self.tokens + other.tokens, estimated, self.measured + other.measured)


def seconds_in(paths) -> float:
    """Wall seconds of jobs, out of the tables that Snakemake's `benchmark:` leaves."""
    total = 0.0
    for path in paths:
        with Path(path).open(newline="") as file:
            total += sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
    return total


def costs(wiring: Wiring, selection: Cascade) -> dict[str, Cost]:
    """Cost of each part of a cascade, and of the last stage alone."""
    settings, windowing = wiring.settings, selection.windowing_name
    found, seen = {}, set()
    for stage in selection.stages:
        cost = Cost.of_choice(wiring, stage.key)
        if stage.scorer is not None and stage.scorer.key not in seen:
            seen.add(stage.scorer.key)
            cost += Cost.of_store(wiring, windowing, stage.scorer)
        found[f"stage {stage.number}: {stage.method}"] = cost
    found["cascade"] = sum(found.values(), Cost(0, 0.0, 0.0))
    alone = Cost.of_store(wiring, windowing, settings.scorers[ALONE])
    found[ALONE] = alone + Cost.of_choice(wiring, ALONE)
    return found


def run(configfile: Path, targets: list[str], cores: str, gpus: int) -> None:
    """Run the workflow up to some files."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += [f"--configfile={configfile}", "--cores", cores, "--resources", f"gpu={gpus}"]
    subprocess.run([*command, "--", *targets], check=True)


def report(settings: Settings, selection: str) -> str:
    """What was found, as text."""
    wiring = Wiring(settings)
    tables = [
        read_table(wiring.places.selection.format(selection=name), "selection")[0].to_pandas()
        for name in (selection, ALONE)
    ]
    kept, reached = shares(*tables)
    cascade = settings.selections[selection]
    number, chosen = len(tables[1]), int(tables[1]["kept"].sum())
    lines = [
        f"{number} windows of {cascade.windowing.window_tokens} tokens; the last stage alone keeps {chosen}, "
        f"the cascade {int(tables[0]['kept'].sum())}",
        f"of these {chosen} the cascade keeps {kept:.1%}; {reached:.1%} came to its last stage",
        f"{'':32} {'tokens scored':>14} {'by FLOPs, s':>12} {'measured, s':>12} {'share':>7} {'share':>7}",
    ]
    found = costs(wiring, cascade)
    whole = found[ALONE]
    for name, cost in found.items():
        estimated = "unknown" if cost.estimated is None else f"{cost.estimated:.3g}"
        by_flops = (
            "" if None in (cost.estimated, whole.estimated) else f"{cost.estimated / whole.estimated:.1%}"
        )
        lines.append(
            f"{name:32} {cost.tokens:14,} {estimated:>12} {cost.measured:12.1f} {by_flops:>7} "
            f"{cost.measured / whole.measured:7.1%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, required=True, help="settings with the cascade")
    parser.add_argument("--selection", required=True, help="the cascade's name")
    parser.add_argument("--results", required=True, help="folder of what the workflow makes")
    parser.add_argument("--top", type=float, default=0.2, help="share that the last stage alone keeps")
    parser.add_argument("--cores", default="all")
    parser.add_argument("--gpus", type=int, default=1, help="GPU jobs at a time; on a CPU jobs that would be")
    arguments = parser.parse_args()

    given = yaml.safe_load(arguments.configfile.read_text())
    compared = compared_settings(given, arguments.selection, arguments.results, arguments.top)
    settings = load_settings(compared)
    Path(arguments.results).mkdir(parents=True, exist_ok=True)
    configfile = Path(arguments.results, "compared.yaml")
    configfile.write_text(yaml.safe_dump(compared, sort_keys=False))
    places = Wiring(settings).places
    targets = [places.selection.format(selection=name) for name in settings.selections]
    run(configfile, targets, arguments.cores, arguments.gpus)
    print(report(settings, arguments.selection))


if __name__ == "__main__":
    main()
