"""Say what a run will need, by stage, before anything runs; refuse what cannot fit.

python workflow/scripts/estimate.py --settings '{"seed": 0, …}' --table results/estimate.tsv
"""

import csv
import os
import shutil
from dataclasses import astuple, fields
from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.store.tables import atomic_path
from longspan_workflow.requests.estimates import Estimate, Estimates, fetched_configs
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring

FORMS = {"jobs": ",d", "tokens": ",.0f", "gpu_hours": ",.2f", "host_gb": ",.1f", "device_gb": ",.1f"}
UNKNOWN = "unknown"


def main(argv=None):
    """Write the table, print it, and say what is not known yet."""
    parser = parser_for(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="table to write")
    arguments = parser.parse_args(argv)
    wiring = Wiring(load_settings(arguments.settings))
    estimates = Estimates(wiring, fetched_configs(wiring))
    rows = [astuple(row) for row in estimates.rows()]
    names = [field.name for field in fields(Estimate)]
    with atomic_path(arguments.table) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([names, *([UNKNOWN if value is None else value for value in row] for row in rows)])

    cells = [names, *([_cell(*item) for item in zip(names, row, strict=True)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        words = [*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:], widths[2:])]
        print("  ".join(words))
    hours, disk = (_sum(rows, names.index(name)) for name in ("gpu_hours", "disk_gb"))
    free = shutil.disk_usage(arguments.table.parent).free / 1e9
    there = _size_gb(Path(wiring.settings.results_dir))
    print(f"\nGPU-hours: {hours:,.2f} at {wiring.settings.device.tflops:g} TFLOP/s (device.tflops)")
    print(f"disk: {disk:,.2f} GB, of which {there:,.2f} GB are there and {free:,.2f} GB are free")
    for line in estimates.unknown():
        print(f"not known, and in no sum: {line}")
    refusals = estimates.refusals()
    if disk > there + free:
        refusals.append(
            f"results_dir: {disk:,.1f} GB are needed and {there + free:,.1f} GB are there or free; "
            "take another folder, fewer trainings, or select_first and store_long: false"
        )
    if refusals:
        raise ValueError("this cannot fit:\n  " + "\n  ".join(refusals))


def _cell(name: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return UNKNOWN if value is None else value
    return format(value, FORMS.get(name, ",.3f"))


def _sum(rows: list[tuple], place: int) -> float:
    return sum(row[place] or 0 for row in rows)


def _size_gb(folder: Path) -> float:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in paths) / 1e9


if __name__ == "__main__":
    run_script(main)
