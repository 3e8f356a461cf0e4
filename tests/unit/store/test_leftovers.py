"""What a kill leaves of a file goes with the next writing of it, and nothing that is still being written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longspan.store.leftovers import FORSAKEN_SECONDS, temporary_path
from longspan.store.tables import atomic_path

WORKFLOW = Path(__file__).parents[3] / "workflow"
WRITER = """
import sys, time
from longspan.store.tables import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def write(path, text="whole"):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path):
    """A process amid writing `x.txt`, and its temporary file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "x.txt")],
        env=os.environ | {"PYTHONPATH": str(WORKFLOW)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_what_a_kill_left_goes_with_the_next_writing_of_that_file(writer, tmp_path):
    process, temporary = writer
    write(tmp_path / "x.txt")
    assert temporary.exists()  # it is at work
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    write(tmp_path / "y.txt")
    assert temporary.exists()  # of another file
    write(tmp_path / "x.txt")
    assert names(tmp_path) == ["x.txt", "y.txt"]


@pytest.mark.parametrize("form", [".x.txt.{}.tmp", ".x.txt.00000000-{}.tmp"])
def test_another_machines_file_goes_when_it_is_a_day_old(tmp_path, form):
    left = tmp_path / form.format(2**22 + 1)  # no process has such a number
    left.write_text("half")
    write(tmp_path / "x.txt")
    assert left.exists()
    old = time.time() - FORSAKEN_SECONDS - 60
    os.utime(left, (old, old))
    write(tmp_path / "x.txt")
    assert names(tmp_path) == ["x.txt"]


def test_other_names_stay(tmp_path):
    old = time.time() - FORSAKEN_SECONDS - 60
    for name in (".x.txt.tmp", ".x.txt.1.tmp.keep", "x.txt.1.tmp", ".xxtxt.1.tmp", ".x.txt.one.tmp"):
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (old, old))
    before = names(tmp_path)
    write(tmp_path / "x.txt")
    assert names(tmp_path) == sorted([*before, "x.txt"])


def test_the_temporary_name_tells_machine_and_process(tmp_path):
    machine, _, process = temporary_path(tmp_path / "x").name.removeprefix(".x.").partition("-")
    assert len(machine) == 8
    assert process == f"{os.getpid()}.tmp"
