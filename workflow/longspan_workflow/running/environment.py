"""What the jobs' shells find: the scripts, the library, and the Python that runs Snakemake."""

import shlex
import sys
from pathlib import Path

from longspan_workflow.running.project import PACKAGES, SCRIPTS


def job_prelude(*, own_python: bool) -> str:
    """The first line of each job's shell command, for Snakemake to format.

    It stands in the commands of these rules alone, so that a workflow that uses them as a module keeps its
    own shell. Only a command that fetches from the hub is given its token, by name.

    Args:
        own_python: whether jobs run in the Python of this process, and not in one that conda gives them.
    """
    packages, scripts = shlex.quote(str(PACKAGES)), shlex.quote(str(SCRIPTS))
    path = f' PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"' if own_python else ""
    line = (
        f'export SCRIPTS={scripts} PYTHONPATH={packages}"${{PYTHONPATH:+:$PYTHONPATH}}"{path}; '
        'hub_token="${HF_TOKEN:-}"; unset HF_TOKEN'
    )
    return "\n" + line.replace("{", "{{").replace("}", "}}")
