import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow.parquet as pq
import pytest

from full_disk import small_disk
from longspan.artifacts import read_table
from longspan.score_store import ScoreWriter
from longspan.window_store import WindowStore
from refusals import refused
from stored_tables import score_manifest, score_row, write_scores, write_tokens, write_windows

IDS = [f"books-00000_{number:07d}" for number in range(1, 13)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tokens of one document, and the windows that tests cut from it."""
    folder = tmp_path_factory.mktemp("windows")
    write_tokens(folder / "tokens.parquet", {"alpha": 9000})
    return folder


@pytest.fixture(scope="module")
def cut(folder):
    """Gives a store of windows that begin at the given tokens."""

    def cut(starts, **settings):
        spans = [("alpha", start) for start in starts]
        write_windows(folder / "00000.parquet", folder / "tokens.parquet", spans, **settings)
        return WindowStore({"00000": (folder / "tokens.parquet", folder / "00000.parquet")})

    return cut


@pytest.fixture(scope="module")
def windows(cut):
    """The twelve windows of `IDS`."""
    return cut(range(0, 96, 8))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores" / "00000.parquet"


@pytest.fixture
def writer_of(windows):
    """Gives a writer over the twelve windows, or over others."""

    def writer_of(path, over=windows, **changes):
        return ScoreWriter(path, "nll_scores", over, **score_manifest(**changes))

    return writer_of


def partial_of(path):
    return path.with_name(path.name + ".partial")


def append(writer, data_ids):
    """Append one record a window, as scoring does; gives the ids that were missing."""
    missing = [data_id for data_id in data_ids if data_id not in writer]
    for data_id in missing:
        writer.append([score_row(data_id)])
    return missing


@pytest.fixture
def unbroken(tmp_path, windows):
    """Gives the bytes of a store that was written in one go."""

    def unbroken(data_ids=IDS):
        write_scores(tmp_path / "unbroken.parquet", windows, data_ids)
        return (tmp_path / "unbroken.parquet").read_bytes()

    return unbroken


def test_scores_come_back_in_the_order_of_windows(path, windows, writer_of):
    with writer_of(path) as writer:
        append(writer, IDS[::-1])
        assert writer.finish() == len(IDS)
    table, manifest = read_table(path, "nll_scores")
    assert table.column("data_id").to_pylist() == IDS
    for row in table.to_pylist():
        for name, values in score_row(row["data_id"]).items():
            assert row[name] == (values if name == "data_id" else values.tolist())
    assert {name: getattr(manifest, name) for name in score_manifest()} == score_manifest()
    assert manifest.tokenizer == windows.tokenizer
    assert os.listdir(path.parent) == [path.name]


def test_scoring_goes_on_behind_a_record_that_is_cut_at_any_byte(path, writer_of):
    """A kill leaves a prefix of the last record, of any length; all before it is kept."""
    with writer_of(path) as writer:
        append(writer, IDS[:2])
        before = partial_of(path).stat().st_size
        append(writer, IDS[2:3])
    whole = partial_of(path).read_bytes()
    assert before < len(whole)
    for end in range(before, len(whole) + 1):
        partial_of(path).write_bytes(whole[:end])
        with writer_of(path) as writer:
            kept = 3 if end == len(whole) else 2
            assert [data_id for data_id in IDS if data_id in writer] == IDS[:kept]
        assert partial_of(path).read_bytes()[4096:] == whole[4096 : before if kept == 2 else None]


@pytest.mark.parametrize("lost", [1, 7, 8, 9, 300])
def test_a_store_that_was_cut_and_went_on_is_that_of_an_unbroken_run(path, lost, writer_of, unbroken):
    with writer_of(path) as writer:
        append(writer, IDS[:3])
    os.truncate(partial_of(path), partial_of(path).stat().st_size - lost)
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[2:]
        writer.finish()
    assert path.read_bytes() == unbroken()


def test_a_record_with_a_flipped_bit_is_not_kept(path, writer_of, unbroken):
    with writer_of(path) as writer:
        append(writer, IDS[:2])
        second = partial_of(path).stat().st_size
        append(writer, IDS[2:4])
    content = bytearray(partial_of(path).read_bytes())
    content[second + 100] ^= 1
    partial_of(path).write_bytes(content)
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[2:]
        writer.finish()
    assert path.read_bytes() == unbroken()


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096])
def test_a_header_that_is_cut_short_or_garbled_starts_anew(path, size, writer_of):
    with writer_of(path) as writer:
        append(writer, IDS[:2])
    partial_of(path).write_bytes(partial_of(path).read_bytes()[:size].replace(b"{", b"\xff"))
    with writer_of(path) as writer:
        assert append(writer, IDS[:2]) == IDS[:2]


@pytest.mark.parametrize("stops", [[1], [5], [1, 2, 3, 11], [12]])
def test_a_broken_run_ends_in_the_same_bytes_as_an_unbroken_one(path, stops, writer_of, unbroken):
    for stop in stops:
        with writer_of(path) as writer:
            append(writer, IDS[:stop])
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[stops[-1] :]
        writer.finish()
    assert path.read_bytes() == unbroken()
    assert not partial_of(path).exists()


def test_an_unchanged_store_keeps_its_bytes_and_gets_a_new_time(path, windows, writer_of):
    write_scores(path, windows, IDS)
    before = path.read_bytes()
    os.utime(path, (0, 0))
    with writer_of(path, code_digest="new code") as writer:
        assert append(writer, IDS) == []
        writer.finish()
    assert path.read_bytes() == before
    assert path.stat().st_mtime > 0
    assert os.listdir(path.parent) == [path.name]


def test_ids_that_are_there_are_kept_and_missing_ones_added(path, windows, writer_of, unbroken):
    write_scores(path, windows, IDS[3:6])
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[:3] + IDS[6:]
        writer.finish()
    assert path.read_bytes() == unbroken()


def test_scores_of_windows_that_are_not_there_at_present_stay(path, cut, writer_of):
    """A sample that shrinks and grows again scores nothing twice."""
    fewer = cut(range(0, 32, 8))
    everything = cut(range(0, 96, 8))
    write_scores(path, everything)
    before = path.read_bytes()
    with writer_of(path, fewer) as writer:
        assert append(writer, IDS[:4]) == []
        assert writer.finish() == 4
    assert path.read_bytes() == before


def test_scores_of_other_tokens_under_the_same_id_are_not_kept(path, cut, writer_of, windows):
    """A text that changed: its windows have their old ids and other tokens."""
    write_scores(path, cut(range(0, 96, 8)))
    moved = cut([0, 8, 17, 24])
    with writer_of(path, moved) as writer:
        assert append(writer, IDS[:4]) == [IDS[2]]
        assert writer.finish() == 4
    rows = {row["data_id"]: row for row in read_table(path, "nll_scores")[0].to_pylist()}
    assert rows.keys() == set(IDS)  # those beyond the four windows stay
    for data_id in IDS[:4]:
        assert rows[data_id]["tokens_digest"] == moved.tokens_digest_of[data_id]


def test_records_of_other_tokens_in_the_partial_file_are_not_kept(path, cut, writer_of):
    with writer_of(path, cut(range(0, 96, 8))) as writer:
        append(writer, IDS[:3])
    with writer_of(path, cut([0, 9, 16])) as writer:
        assert append(writer, IDS[:3]) == [IDS[1]]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"base_length": 5}},
        {"inputs": {"model": "n"}},
        {"stage_version": 2},
        {"without": frozenset({"long_nll"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_scores_of_other_settings_are_not_kept(path, change, windows, writer_of):
    write_scores(path, windows, IDS[:3])
    with writer_of(path) as writer:
        append(writer, IDS[3:6])  # left in the partial file
    with writer_of(path, **change) as writer:
        assert not any(data_id in writer for data_id in IDS)
    # The finished file is still there, for who goes back to its settings.
    with writer_of(path) as writer:
        assert [data_id for data_id in IDS if data_id in writer] == IDS[:3]


def test_other_code_alone_keeps_the_scores(path, windows, writer_of):
    write_scores(path, windows, IDS[:3])
    with writer_of(path, code_digest="new code") as writer:
        append(writer, IDS[3:6])
    with writer_of(path, code_digest="newer code") as writer:
        assert append(writer, IDS[:6]) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_final_file_is_scored_anew(path, damage, windows, writer_of, unbroken):
    write_scores(path, windows, IDS)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-20])
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS
        writer.finish()
    assert path.read_bytes() == unbroken()


def test_an_empty_shard_has_an_empty_store(path, cut, writer_of):
    with writer_of(path, cut([])) as writer:
        assert writer.finish() == 0
    assert read_table(path, "nll_scores")[0].num_rows == 0


@pytest.mark.parametrize("version", [0, 2])
def test_a_store_of_another_schema_version_is_refused_and_left(path, windows, writer_of, version):
    """Days of scores are no one's to throw away but their owner's."""
    write_scores(path, windows)
    table = pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata.metadata[b"longspan"]
    metadata = metadata.replace(b'"schema_version": 1', f'"schema_version": {version}'.encode())
    pq.write_table(table.replace_schema_metadata({b"longspan": metadata}), path)
    before = path.read_bytes()
    message = (
        f"{path} has schema version {version}, this longspan reads 1; "
        "delete it and run the same target again, which reruns score_short"
    )
    with refused(message), writer_of(path):
        pass
    assert path.read_bytes() == before


def test_a_second_writer_is_refused_and_the_holder_named(path, cut, folder, writer_of):
    program = textwrap.dedent("""
        import sys, time
        from longspan.score_store import ScoreWriter
        from longspan.window_store import WindowStore
        from stored_tables import score_manifest, score_row
        folder, path = sys.argv[1:]
        windows = WindowStore({"00000": (folder + "/tokens.parquet", folder + "/00000.parquet")})
        with ScoreWriter(path, "nll_scores", windows, **score_manifest()) as writer:
            writer.append([score_row("books-00000_0000001")])
            print("open", flush=True)
            time.sleep(60)
    """)
    windows = cut(range(0, 96, 8))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SLURM_JOB_ID": "77"}
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        host = os.uname().nodename
        message = (
            f"{partial_of(path)} is held by process {holder.pid} on {host} (SLURM job 77); "
            "wait until it ends, or end it, then run again"
        )
        with refused(message), writer_of(path, windows):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    # A killed holder holds nothing, and what it wrote is there.
    with writer_of(path) as writer:
        assert append(writer, IDS[:2]) == IDS[1:2]


def test_a_writer_that_waited_while_the_holder_finished_takes_the_new_file(path, monkeypatch, writer_of):
    """Between opening and locking, the holder may have renamed its result and removed the partial file."""
    import fcntl

    real, calls = fcntl.flock, []

    def flock(file, operation):
        if not calls:
            os.unlink(partial_of(path))
        calls.append(operation)
        return real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with writer_of(path) as writer:
        append(writer, IDS[:1])
        assert partial_of(path).exists()
        assert len(calls) == 2


def test_appended_rows_are_on_the_disk_when_append_returns(path, writer_of):
    """Not in a buffer that a kill would take along: a child that ends without closing leaves them."""
    with writer_of(path):
        pass
    child = os.fork()
    if not child:
        writer = writer_of(path).__enter__()
        append(writer, IDS[:3])
        os._exit(0)
    os.waitpid(child, 0)
    with writer_of(path) as writer:
        assert append(writer, IDS[:4]) == IDS[3:4]


def test_a_full_disk_is_named_and_what_is_scored_stays(tmp_path, cut, writer_of):
    many = cut(range(0, 8000, 8))
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "00000.parquet"
        message = f"[Errno {errno.ENOSPC}] no space left on the disk of {disk}; free some and run again"
        with refused(message, OSError), writer_of(path, many) as writer:
            append(writer, many.data_ids)
        with writer_of(path, many) as writer:
            there = [data_id for data_id in many.data_ids if data_id in writer]
        assert there == many.data_ids[: len(there)]
        assert 20 < len(there) < 200


def test_missing_windows_are_scored_and_progress_is_shown(path, windows, writer_of, capsys):
    scored = []

    def load_scorer():
        def score(data_id, input_ids):
            scored.append((data_id, input_ids.tolist()))
            values = np.full(7, input_ids[0] / 8, np.float16)
            return {"short_nll": values, "long_nll": values}

        return score

    wanted = [*IDS[:3], "books-00007_0000001"]  # an id of another shard is not this one's to score
    with writer_of(path) as writer:
        writer.append([score_row(IDS[1])])
        writer.add_missing(wanted, load_scorer)
        assert writer.finish() == 3
    assert scored == [(IDS[0], list(range(100, 108))), (IDS[2], list(range(116, 124)))]
    assert read_table(path, "nll_scores")[0].column("short_nll")[0].as_py() == [12.5] * 7
    assert "scores 00000: 100%" in capsys.readouterr().err

    def never():
        raise AssertionError("a complete store needs no model")

    with writer_of(path) as writer:
        writer.add_missing(wanted, never)


def test_the_partial_files_header_is_readable_and_says_who_holds_it(path, writer_of):
    with writer_of(path):
        header = json.loads(partial_of(path).read_bytes())
        assert header["holder"] == f"process {os.getpid()} on {os.uname().nodename}"
