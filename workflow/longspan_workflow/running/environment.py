"""What the jobs' shells find: the scripts, the library, and the Python that runs Snakemake."""

import os
import sys
from pathlib import Path


def prepare_environment(workflow: Path) -> None:
    """Set SCRIPTS, PYTHONPATH and PATH for the jobs that this process starts, here or on another node."""
    os.environ["SCRIPTS"] = str(workflow / "scripts")
    _put_first("PYTHONPATH", workflow)
    _put_first("PATH", Path(sys.executable).parent)


def _put_first(variable: str, folder: Path) -> None:
    others = [part for part in os.environ.get(variable, "").split(os.pathsep) if part and part != str(folder)]
    os.environ[variable] = os.pathsep.join([str(folder), *others])
