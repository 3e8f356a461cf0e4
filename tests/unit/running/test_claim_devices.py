import itertools
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parents[3] / "workflow"
# Shows its devices, and lives until a line or the end of its input comes.
CHILD = "import os, sys; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); sys.stdin.read(1)"


@pytest.fixture
def claim(tmp_path):
    """Start commands with claimed devices, of a machine whose nvidia-smi lists four."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\nfor i in 0 1 2 3; do echo "GPU $i: H100 (UUID: GPU-$i)"; done\n')
    smi.chmod(0o755)
    started = []

    def start(count, **more):
        names = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), **more}
        environment = {
            k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")
        }
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "longspan_workflow.running.claim_devices",
                str(count),
                sys.executable,
                "-c",
                CHILD,
            ],
            env=environment | {"PYTHONPATH": str(WORKFLOW)} | names,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def devices_of(process):
    return process.stdout.readline().strip().split(",")


def test_jobs_at_once_have_devices_of_their_own(claim):
    processes = [claim(1), claim(2), claim(1)]
    found = [devices_of(process) for process in processes]
    assert [len(devices) for devices in found] == [1, 2, 1]
    assert sorted(itertools.chain(*found)) == ["0", "1", "2", "3"]


def test_a_kill_frees_the_devices_for_the_one_who_waits(claim):
    first = claim(3)
    held = devices_of(first)
    second = claim(2)
    assert not select.select([second.stdout], [], [], 2)[0]
    os.kill(first.pid, signal.SIGKILL)
    assert set(devices_of(second)) & set(held)


def test_named_devices_are_the_ones_that_are_handed_out(claim):
    assert devices_of(claim(1, CUDA_VISIBLE_DEVICES="3")) == ["3"]
    assert devices_of(claim(1, CUDA_VISIBLE_DEVICES="")) == [""]


def test_what_slurm_gave_stays(claim):
    first, second = (claim(1, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="2") for _ in range(2))
    assert devices_of(first) == devices_of(second) == ["2"]


def test_one_who_waits_says_for_whom(claim):
    first = claim(3)
    held = devices_of(first)
    second = claim(2)
    line = second.stderr.readline()
    holder = f"process {first.pid} on {socket.gethostname()}"
    assert line == (
        "claim_devices: waiting for 2 of the GPUs: "
        + "; ".join(f"{device} is held by {holder}" for device in held)
        + "\n"
    )
    # Not again for a while.
    assert not select.select([second.stderr], [], [], 1)[0]


def test_another_ones_link_is_not_followed(claim, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    folder = tmp_path / f"longspan-devices-{os.getuid()}"
    folder.symlink_to(theirs)
    process = claim(1)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == (
        f"claim_devices: error: {folder} is a link; remove it, or set TMPDIR to a folder of your own\n"
    )
    assert not list(theirs.iterdir())
    # Nor one in the place of a lock.
    folder.unlink()
    folder.mkdir(0o700)
    (folder / "0.lock").symlink_to(theirs / "file")
    _, error = claim(1).communicate(timeout=60)
    assert "0.lock" in error
    assert not list(theirs.iterdir())


def test_more_devices_than_there_are_is_an_error(claim):
    process = claim(5)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == (
        "claim_devices: error: 5 GPUs are asked for, 4 can be used (0, 1, 2, 3); "
        "give --resources gpu=N as many as there are, and a training no more devices\n"
    )
