"""A checkout of the project in another folder."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def clone(folder: Path) -> None:
    """Clone the repository into `folder`, then bring over what is not committed here."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if changes := _git("diff", "HEAD", "--binary"):
        subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=folder, input=changes, check=True)
    for name in _git("ls-files", "--others", "--exclude-standard", "-z").decode().split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name, follow_symlinks=False)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
