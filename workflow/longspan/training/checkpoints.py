"""The folder of a training's checkpoints: which of them is whole, and how it was sharded."""

import json
import shutil
from pathlib import Path

SHARDED_WEIGHTS = "pytorch_model_fsdp_0"


def last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end, or None."""
    for checkpoint in _newest_first(folder):
        if _is_whole(checkpoint):
            return str(checkpoint)
    return None


def drop_broken_checkpoints(folder: Path) -> None:
    """Remove what a kill or a full disk left behind the last whole checkpoint."""
    for checkpoint in _newest_first(folder):
        if _is_whole(checkpoint):
            return
        shutil.rmtree(checkpoint)


def require_sharding(checkpoint: str, sharded: bool) -> None:
    """Refuse a checkpoint that a training of another sharding wrote.

    Raises:
        ValueError: naming both.
    """
    found = (Path(checkpoint) / SHARDED_WEIGHTS).exists()
    if found != sharded:
        names = {True: "full", False: "none"}
        raise ValueError(
            f"{checkpoint} was written with sharding: {names[found]}, the settings say {names[sharded]}; set "
            f"it back, or delete {Path(checkpoint).parent} to begin anew"
        )


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))


def _is_whole(checkpoint: Path) -> bool:
    try:
        # Trainer writes its state after everything else.
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return True
