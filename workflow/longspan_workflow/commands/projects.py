"""A project of one's own beside the workflow: settings, a profile, and a Snakefile that uses the workflow."""

import shutil
from pathlib import Path

from longspan_workflow.running.project import ROOT

SNAKEFILE = """\
# longspan's rules, under the settings of config.yaml; rules of your own go below.
from longspan_workflow.running.project import SNAKEFILE


# A file given by --configfile is used instead of config.yaml; Snakemake by itself would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


module longspan:
    snakefile:
        SNAKEFILE
    config:
        config


use rule * from longspan

"""


def make_project(folder: Path) -> list[Path]:
    """Write a project into a new folder; the files that were written.

    Raises:
        ValueError: the folder is there and not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "config.yaml", folder / "config.yaml")
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    # Snakemake looks for the profile of `--profile slurm` here.
    (folder / "slurm").symlink_to(Path("profiles", "slurm"))
    (folder / "Snakefile").write_text(SNAKEFILE)
    return sorted(path for path in folder.iterdir())
