"""The command `longspan`: questions about what the workflow made.

longspan explain classics-00001_0000042
"""

import argparse
import sys
from pathlib import Path

import yaml

from longspan.process.command_line import run_script
from longspan_workflow.commands.explanations import explain
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.layout import Layout


def main(argv=None):
    """Answer, as YAML on stdout."""
    parser = argparse.ArgumentParser(prog="longspan", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("explain", help="say why a window or a document is kept or not")
    command.add_argument("id", help="a data_id or a document_id")
    command.add_argument("--configfile", type=Path, default=Path("config.yaml"), help="the settings")
    arguments = parser.parse_args(argv)
    layout = Layout(load_settings(yaml.safe_load(arguments.configfile.read_text())))
    yaml.safe_dump(explain(layout, arguments.id), sys.stdout, sort_keys=False, allow_unicode=True, width=110)


def run():
    """Run the command; what its user can mend is one line on stderr."""
    sys.argv[0] = "longspan"
    run_script(main)


if __name__ == "__main__":
    run()
