"""The command `longspan`: questions about settings and about what the workflow made.

longspan explain classics-00001_0000042
"""

import argparse
import sys
from pathlib import Path

import yaml

from longspan.process.command_line import run_script
from longspan_workflow.commands.explanations import explain
from longspan_workflow.commands.projects import make_project
from longspan_workflow.settings.files import read_settings
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring


def main(argv=None):
    """Answer on stdout."""
    parser = argparse.ArgumentParser(prog="longspan", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("explain", help="say why a window or a document is kept or not")
    command.add_argument("id", help="a data_id or a document_id")
    command.add_argument("--configfile", type=Path, default=Path("config.yaml"), help="the settings")
    command = commands.add_parser("check", help="read a settings file as data, and name all its faults")
    command.add_argument("configfile", type=Path, help="the settings")
    command = commands.add_parser("init", help="write a project of one's own: settings, profile, Snakefile")
    command.add_argument("folder", type=Path, help="a new folder")
    arguments = parser.parse_args(argv)
    match arguments.command:
        case "explain":
            wiring = Wiring(load_settings(read_settings(arguments.configfile)))
            answer = explain(wiring, arguments.id)
            yaml.safe_dump(answer, sys.stdout, sort_keys=False, allow_unicode=True, width=110)
        case "check":
            load_settings(read_settings(arguments.configfile))
            print(f"{arguments.configfile}: no fault")
        case "init":
            for path in make_project(arguments.folder):
                print(path)


def run():
    """Run the command; what its user can mend is one line on stderr."""
    sys.argv[0] = "longspan"
    run_script(main)


if __name__ == "__main__":
    run()
