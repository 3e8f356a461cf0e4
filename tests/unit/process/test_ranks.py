import os

import pytest

from longspan.process.ranks import join_processes, settings_alone
from refusals import refused

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _no_torchrun(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)


def test_one_process_of_torchrun_is_one_process(monkeypatch):
    join_processes(1)
    for name, value in zip(TORCHRUN, ("0", "0", "1", "1", "localhost", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    join_processes(1)


def test_another_number_of_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with refused(
        "4 processes run by WORLD_SIZE, the settings say 1 (devices times nodes); start as many by torchrun, "
        "change the settings, or unset WORLD_SIZE if it is left over"
    ):
        join_processes(1)


@pytest.mark.parametrize(
    ("left", "named"),
    [
        ({"RANK": "3"}, "RANK=3"),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "RANK=1"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 without WORLD_SIZE"),
    ],
)
def test_ranks_left_in_the_environment_are_refused(monkeypatch, left, named):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with refused(
        f"one process runs by the settings, but the environment says {named}; unset it, or start by torchrun"
    ):
        join_processes(1)


def test_a_world_size_without_torchrun_waits_for_nobody(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with refused(
        "WORLD_SIZE=2 is in the environment without LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT; "
        "start by torchrun, which sets all of them, or unset it"
    ):
        join_processes(2)


def test_settings_alone_hides_what_was_set_and_drops_what_libraries_set(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with settings_alone() as left_out:
        assert {"ACCELERATE_MIXED_PRECISION", "FSDP_VERSION"} <= set(left_out)
        assert not {"ACCELERATE_MIXED_PRECISION", "FSDP_VERSION"} & os.environ.keys()
        os.environ["ACCELERATE_USE_FSDP"] = "true"
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "fp16"
    assert "ACCELERATE_USE_FSDP" not in os.environ
