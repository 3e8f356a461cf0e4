"""Write means of all evaluations with intervals, differences to base models and controls, and the verdict.

    python workflow/scripts/compare_models.py --settings '{"evaluations": […], "seed": 1}' \
        --table results/evaluation.tsv --markdown results/evaluation.md --verdict results/verdict.txt
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.evaluation_table import as_markdown, as_tsv, evaluation_rows
from longspan.reporting.verdict import verdicts
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write the table in both forms and the verdict; settings name the tables to read."""
    parser = parser_for(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="tab-separated values to write")
    parser.add_argument("--markdown", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--verdict", type=Path, required=True, help="verdict to write, a paragraph a line")
    arguments = parser.parse_args(argv)

    settings = arguments.settings
    rows = evaluation_rows(settings["evaluations"], seed=settings["seed"])
    verdict = "".join(f"{paragraph}\n" for paragraph in verdicts(rows))
    texts = {arguments.table: as_tsv(rows), arguments.markdown: as_markdown(rows), arguments.verdict: verdict}
    for path, text in texts.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    run_script(main)
