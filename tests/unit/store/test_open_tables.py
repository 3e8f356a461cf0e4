"""Thousands of tables are read under few file descriptors, and what the machine lacks is no damage."""

import errno
import gc
import os
import subprocess
import sys

import pyarrow as pa
import pytest

from longspan.store.machine_faults import MachineFaultError, naming_machine_faults
from longspan.store.tables import OPEN_TABLES, RowReader, open_table, write_table


def write_tokens(path, first):
    ids = [[first + row] * 3 for row in range(4)]
    rows = [
        {"document_id": f"d{row}", "input_ids": ids[row], "char_deltas": [0, 1, 1, 1]} for row in range(4)
    ]
    write_table(path, "tokens", rows, settings={})


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{number:05d}.parquet" for number in range(3 * OPEN_TABLES)]
    for number, path in enumerate(paths):
        write_tokens(path, 10 * number)
    return paths


def open_files(folder):
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return [link for link in links if os.path.exists(link) and os.readlink(link).startswith(str(folder))]


def test_readers_of_many_tables_hold_few_open_and_give_every_row(paths, tmp_path):
    readers = [RowReader(path, "tokens", ["input_ids"]) for path in paths]
    for row in (2, 0, 3):
        for number, reader in enumerate(readers):
            assert reader[row]["input_ids"].as_py() == [10 * number + row] * 3
        assert 0 < len(open_files(tmp_path)) <= OPEN_TABLES
    del readers, reader
    gc.collect()
    assert not open_files(tmp_path)


def test_a_table_that_is_written_anew_while_it_is_read_is_refused(paths):
    readers = [RowReader(path, "tokens") for path in paths]
    paths[0].unlink()
    write_tokens(paths[0], 1)
    with pytest.raises(ValueError, match="was written anew while it was read"):
        readers[0][0]


def test_a_table_that_was_kept_is_the_same_table(paths):
    readers = [RowReader(path, "tokens") for path in paths]
    os.utime(paths[0])
    assert readers[0][1]["input_ids"].as_py() == [1] * 3


def test_too_many_open_files_are_the_machines_fault_and_no_damage(paths):
    code = f"""
import os, resource
from longspan.store.tables import RowReader, open_table
reader = RowReader({str(paths[0])!r}, "tokens")
while len(os.listdir("/proc/self/fd")) < 60:
    os.open("/dev/null", os.O_RDONLY)
taken = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (taken, taken))
open_table({str(paths[1])!r}, "tokens")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    error = result.stderr.splitlines()[-1]
    assert "MachineFaultError" in error
    assert "too many files open; raise the limit (ulimit -n)" in error
    assert "delete" not in error
    assert open_table(paths[1], "tokens")[1].rows == 4


def test_tables_of_a_thousand_shards_are_read_under_few_descriptors(tmp_path):
    paths = [tmp_path / f"{number:05d}.parquet" for number in range(600)]
    write_tokens(paths[0], 5)
    for path in paths[1:]:
        os.link(paths[0], path)
    code = f"""
import resource
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from longspan.store.tables import RowReader
readers = [RowReader(path, "tokens") for path in sorted(Path({str(tmp_path)!r}).iterdir())]
print(sum(reader[1]["input_ids"].as_py()[0] for reader in readers))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == str(600 * 6), result.stderr


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EIO, errno.ESTALE])
def test_faults_of_the_machine_say_that_the_file_is_whole(number):
    with (
        pytest.raises(MachineFaultError, match=r"a\.parquet could not be read: .*nothing is wrong") as caught,
        naming_machine_faults("a.parquet"),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.errno == number


def test_other_faults_stay_what_they_are():
    with pytest.raises(FileNotFoundError), naming_machine_faults("a.parquet"):
        raise FileNotFoundError(errno.ENOENT, "no such file")
    with pytest.raises(pa.ArrowInvalid), naming_machine_faults("a.parquet"):
        raise pa.ArrowInvalid("bad footer")
