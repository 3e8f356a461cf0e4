"""The folder of a training's checkpoints: which of them is whole, how it was sharded, what room it lacks.

Imports no torch.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def naming_last_checkpoint(folder: Path, what: str, unfinished: Path) -> Iterator[None]:
    """Say what is kept when the disk is full, and remove what was being written.

    Args:
        folder: of the checkpoints.
        what: what is written.
        unfinished: its folder.

    Raises:
        OSError: the disk is full, with the last good checkpoint.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # safetensors and torch have faults of their own for it, torch's for shards is no Exception.
        if not _is_full(unfinished.parent, error):
            raise
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OSError(
            errno.ENOSPC,
            f"no space left on the disk of {unfinished.parent} for {what}; the last good checkpoint is "
            f"{last_whole_checkpoint(folder) or 'the base model'}; free some and run again",
        ) from error


def _is_full(folder: Path, error: Exception) -> bool:
    named = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    # torch's writer does not say why it failed.
    return named or "StorageFull" in str(error) or shutil.disk_usage(folder).free < 2**20


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))


def _is_whole(checkpoint: Path) -> bool:
    try:
        # Trainer writes its state after everything else.
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return True
