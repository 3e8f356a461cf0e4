"""A checkpoint that somebody else may have written runs nothing when it is loaded."""

import io
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dist_cp

from longspan.training.checkpoint_loading import loading_no_code, read_metadata


class Attack:
    """Becomes a call when it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.fixture
def values():
    return {"weights": torch.arange(6.0).reshape(2, 3), "rate": 0.5, "betas": (0.9, 0.95)}


@pytest.fixture
def checkpoint(tmp_path, values):
    """A checkpoint in torch's form for shards, with numbers beside its tensors."""
    folder = tmp_path / "checkpoint-1"
    dist_cp.save(values, checkpoint_id=folder, no_dist=True)
    return folder


def load(folder):
    state = {"weights": torch.zeros(2, 3), "rate": 0.0, "betas": (0.0, 0.0)}
    dist_cp.load(state, storage_reader=dist_cp.FileSystemReader(folder), no_dist=True)
    return state


def test_what_torch_wrote_comes_back(checkpoint, values):
    plain = load(checkpoint)
    with loading_no_code(checkpoint):
        state = load(checkpoint)
    assert torch.equal(state["weights"], values["weights"])
    assert (state["rate"], state["betas"]) == (plain["rate"], plain["betas"]) == (0.5, (0.9, 0.95))


def test_metadata_that_call_something_are_refused(checkpoint, tmp_path):
    trace = tmp_path / "trace"
    (checkpoint / ".metadata").write_bytes(pickle.dumps(Attack(trace)))
    refused = pytest.raises(ValueError, match=r"holds more than values.*it names posix\.mkdir\); find out")
    with refused, loading_no_code(checkpoint):
        load(checkpoint)
    assert not trace.exists()


def test_numbers_that_call_something_are_refused(checkpoint, values, tmp_path):
    trace = tmp_path / "trace"
    shutil.rmtree(checkpoint)
    dist_cp.save(values | {"rate": Attack(trace)}, checkpoint_id=checkpoint, no_dist=True)
    with pytest.raises(ValueError, match=r"holds more than values"), loading_no_code(checkpoint):
        load(checkpoint)
    assert not trace.exists()


def test_files_of_random_state_that_call_something_are_refused(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"cpu": Attack(trace)}, tmp_path / "rng_state.pth")
    with pytest.raises(ValueError, match=r"holds more than values"), loading_no_code(tmp_path):
        torch.load(tmp_path / "rng_state.pth", weights_only=False)
    assert not trace.exists()


def test_metadata_that_name_a_file_elsewhere_are_refused(checkpoint):
    with open(checkpoint / ".metadata", "rb") as file:
        metadata = read_metadata(file)
    for information in metadata.storage_data.values():
        information.relative_path = "../../elsewhere"
    with pytest.raises(pickle.UnpicklingError, match=r"it names the file \.\./\.\./elsewhere"):
        read_metadata(io.BytesIO(pickle.dumps(metadata)))


def test_all_is_as_before_behind_the_block(checkpoint, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    reading = dist_cp.FileSystemReader.read_metadata
    with loading_no_code(checkpoint):
        assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    assert dist_cp.FileSystemReader.read_metadata is reading
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert Path(checkpoint, ".metadata").exists()
