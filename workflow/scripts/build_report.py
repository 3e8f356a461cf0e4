"""Build the report: one page of what all tables say, readable without a network.

    python workflow/scripts/build_report.py --settings '{"title": "…", "selections": {…}, …}' \
        --record results/settings.yaml --summary results/summary.tsv --funnel results/funnel.tsv \
        --costs results/costs.tsv --page results/report.html
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.page.build import page_data
from longspan.reporting.page.document import render_page
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write the page."""
    parser = parser_for(__doc__)
    parser.add_argument("--record", type=Path, required=True, help="the settings with their defaults")
    for name in ("summary", "funnel", "costs"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"table of the {name}")
    parser.add_argument("--evaluation", nargs="?", type=Path, help="table of evaluations, if there are any")
    parser.add_argument("--markdown", nargs="?", type=Path, help="the same in Markdown")
    parser.add_argument("--verdict", nargs="?", type=Path, help="verdict, if there is one")
    parser.add_argument("--page", type=Path, required=True, help="page to write")
    arguments = parser.parse_args(argv)
    names = ("record", "summary", "funnel", "costs", "evaluation", "markdown", "verdict")
    files = {name: path for name in names if (path := getattr(arguments, name)) is not None}
    data = page_data(arguments.settings, files)
    page = render_page(arguments.settings["title"], data)
    with atomic_path(arguments.page) as temporary:
        temporary.write_text(page, encoding="utf-8")
    windows = len(data["reader"]["windows"])
    print(f"{arguments.page}: {len(page.encode()) / 1e6:.2f} MB, {windows} windows to read")


if __name__ == "__main__":
    run_script(main)
