"""What the jobs' shells find: the scripts, the library, and the Python that runs Snakemake."""

import shlex
import sys
from pathlib import Path

from longspan.fetching.hub_token import VARIABLES
from longspan_workflow.running.project import PACKAGES, SCRIPTS


def job_prelude(*, own_python: bool) -> str:
    """The first line of each job's shell command.

    It stands in the commands of these rules alone, so that a workflow that uses them as a module keeps its
    own shell. The hub's token is taken away; `with_hub_token` starts a command with it.

    Args:
        own_python: whether jobs run in the Python of this process, and not in one that conda gives them.
    """
    packages, scripts = shlex.quote(str(PACKAGES)), shlex.quote(str(SCRIPTS))
    path = f' PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"' if own_python else ""
    kept = " ".join(f'hub_{number}="${{{name}:-}}"' for number, name in enumerate(VARIABLES))
    given = " ".join(f'{name}="$hub_{number}"' for number, name in enumerate(VARIABLES))
    return (
        f'export PYTHONUTF8=1 SCRIPTS={scripts} PYTHONPATH={packages}"${{PYTHONPATH:+:$PYTHONPATH}}"{path}; '
        f'{kept}; unset {" ".join(VARIABLES)}; with_hub_token() {{ {given} "$@"; }}'
    )
