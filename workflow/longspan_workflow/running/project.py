"""Where the workflow's own files lie: in a checkout, or in an installed package."""

from pathlib import Path

_HERE = Path(__file__).parents[1]
_CHECKOUT = _HERE.parents[1]
# A wheel holds the files under the paths of a checkout (pyproject.toml).
ROOT = _CHECKOUT if (_CHECKOUT / "workflow" / "rules").is_dir() else _HERE / "project"
SNAKEFILE = str(ROOT / "workflow" / "Snakefile")
SCRIPTS = ROOT / "workflow" / "scripts"
PACKAGES = _HERE.parent


def script(name: str) -> Path:
    """The script of a name."""
    return SCRIPTS / f"{name}.py"
