"""A disk that fills up when a trained model is written costs no update."""

import copy
import os
import shutil
import subprocess

from full_disk import small_disk
from longspan.training.checkpoints import last_whole_checkpoint
from tiny_chain import TINY, Chain


def result_files(run):
    """What two trainings of the same settings and data share to the byte."""
    unlike = {"checkpoints", "logs", "lock", "speed.parquet"}
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and not unlike & set(path.relative_to(run).parts)
    }


def test_a_training_whose_model_does_not_fit_goes_on_from_its_last_update(chain):
    # Few updates: no checkpoint on the way.
    settings = copy.deepcopy(TINY)
    settings["runs"]["main"]["train"] = {"max_steps": 2, "learning_rate": 1e-3}
    chain = Chain(settings)
    run = chain.path("run")
    chain.make("train")
    whole = result_files(run)
    kilobytes = (run / "model" / "model.safetensors").stat().st_size // 1024
    shutil.rmtree(run)
    with small_disk(run, int(kilobytes * 1.7)):
        result = chain.run("train")
        last = last_whole_checkpoint(run / "checkpoints")
        assert result.code == 1
        assert result.stderr.splitlines()[-1] == (
            f"train: error: no space left on the disk of {run} for the trained model; the last good "
            f"checkpoint is {last}; free some and run again"
        )
        assert last == str(run / "checkpoints" / "checkpoint-2")
        assert not (run / "model").exists()
        subprocess.run(["mount", "-o", f"remount,size={8 * kilobytes}k", str(run)], check=True)
        assert "'loss'" not in chain.make("train")
        assert result_files(run) == whole


def test_a_group_can_read_what_a_training_wrote(chain):
    before = os.umask(0o002)
    try:
        shutil.rmtree(chain.path("run"))
        chain.make("train")
    finally:
        os.umask(before)
    files = [path for path in chain.path("run").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o664}
