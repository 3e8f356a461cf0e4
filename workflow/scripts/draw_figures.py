"""Draw the report's figures.

    python workflow/scripts/draw_figures.py --settings '{"selections": [["best", "…"]], …}' \
        --folder results/figures
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.figures import draw_evaluation, draw_exposures, draw_selections, draw_trainings


def main(argv=None):
    """Draw selections, trainings and evaluations, as far as the settings name tables."""
    parser = parser_for(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the figures")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    if settings["selections"]:
        draw_selections(dict(settings["selections"]), arguments.folder / "selections.svg")
    if settings["trainings"]:
        draw_trainings(settings["trainings"], arguments.folder / "trainings.svg")
    if settings["exposures"]:
        draw_exposures(settings["exposures"], arguments.folder / "exposure.svg")
    for name, figure in settings["evaluations"].items():
        draw_evaluation(figure["task"], figure["tables"], arguments.folder / f"evaluation-{name}.svg")


if __name__ == "__main__":
    run_script(main)
