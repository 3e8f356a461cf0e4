"""The command `longspan`: questions about settings and about what the workflow made.

longspan explain classics-00001_0000042
longspan list --part border
"""

import argparse
import sys
from pathlib import Path

import yaml

from longspan.process.command_line import run_script
from longspan_workflow.commands.comparisons import compare_results
from longspan_workflow.commands.explanations import explain, in_words
from longspan_workflow.commands.listings import PARTS, list_windows
from longspan_workflow.commands.projects import make_project
from longspan_workflow.commands.readers import write_reader
from longspan_workflow.commands.states import status
from longspan_workflow.settings.files import read_settings
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring


def main(argv=None):
    """Answer on stdout."""
    parser = argparse.ArgumentParser(prog="longspan", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("explain", help="say why a window or a document is kept or not")
    command.add_argument("id", help="a data_id or a document_id")
    command.add_argument("--html", type=Path, metavar="FILE", help="write a page to read it, token by token")
    _add_settings(command)
    command = commands.add_parser("list", help="windows of a selection, with their ids, scores and titles")
    command.add_argument("--selection", help="its name; by default the first that is used")
    command.add_argument("--part", choices=PARTS, default="top", help="the best, those at the cut, the worst")
    command.add_argument("--source", metavar="TEXT", help="only those whose source or category has this text")
    command.add_argument("--title", metavar="TEXT", help="only those whose title has this text")
    command.add_argument("--count", type=_positive, default=20, help="most windows to list (20)")
    _add_settings(command)
    command = commands.add_parser("status", help="how far a run is, what failed and why; takes no lock")
    _add_settings(command)
    command = commands.add_parser("compare", help="two folders of results: what differs")
    command.add_argument("first", type=Path, help="a folder of results")
    command.add_argument("second", type=Path, help="another one")
    command = commands.add_parser("check", help="read a settings file as data, and name all its faults")
    command.add_argument("configfile", type=Path, help="the settings")
    command = commands.add_parser("init", help="write a project of one's own: settings, profile, Snakefile")
    command.add_argument("folder", type=Path, help="a new folder")
    arguments = parser.parse_args(argv)
    match arguments.command:
        case "explain":
            wiring = _wiring(arguments.configfile)
            if arguments.html:
                windows = write_reader(wiring, arguments.id, arguments.html)
                print(f"{arguments.html}: {windows} window{'s' * (windows > 1)} to read")
                return
            answer = explain(wiring, arguments.id)
            answer = {"why": in_words(answer), **answer} if "windowings" in answer else answer
            yaml.safe_dump(answer, sys.stdout, sort_keys=False, allow_unicode=True, width=110)
        case "list":
            names = ("selection", "part", "source", "title", "count")
            chosen = {name: getattr(arguments, name) for name in names}
            print(list_windows(_wiring(arguments.configfile), **chosen))
        case "status":
            print(status(_wiring(arguments.configfile)))
        case "compare":
            print(compare_results(arguments.first, arguments.second))
        case "check":
            load_settings(read_settings(arguments.configfile))
            print(f"{arguments.configfile}: no fault")
        case "init":
            for path in make_project(arguments.folder):
                print(path)


def _wiring(configfile: Path) -> Wiring:
    return Wiring(load_settings(read_settings(configfile)))


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--configfile", type=Path, default=Path("config.yaml"), help="the settings")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def run():
    """Run the command; what its user can mend is one line on stderr."""
    sys.argv[0] = "longspan"
    run_script(main)


if __name__ == "__main__":
    run()
