"""Write down what the jobs of each rule took.

python workflow/scripts/tabulate_costs.py --benchmarks results/benchmarks --table results/costs.tsv
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.costs import COLUMNS, cost_rows
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write one row a rule."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the jobs' tables")
    parser.add_argument("--table", type=Path, required=True, help="tab-separated values to write")
    arguments = parser.parse_args(argv)
    rows = [COLUMNS, *cost_rows(arguments.benchmarks)]
    with atomic_path(arguments.table) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in rows))


if __name__ == "__main__":
    run_script(main)
