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
from longspan.scoring.store import ScoreWriter
from longspan.store.tables import SchemaVersionError, read_table, write_table
from refusals import refused
from stored_tables import score_manifest, score_row, window_store, write_tokens, write_windows

IDS = [f"books-00000_{number:07d}" for number in range(1, 13)]
DOCUMENTS = {"alpha": 48, "beta": 48}
SPANS = [(document, start) for document in DOCUMENTS for start in range(0, 48, 8)]


@pytest.fixture
def path(tmp_path):
    make_windows(tmp_path)
    return tmp_path / "scores" / "00000.parquet"


def make_windows(folder, spans=SPANS, documents=DOCUMENTS, **tokens):
    """A shard of twelve windows, or as given."""
    write_tokens(folder / "tokens" / "00000.parquet", documents, **tokens)
    write_windows(folder / "windows" / "00000.parquet", folder / "tokens" / "00000.parquet", spans)


def sample_windows(folder, data_ids):
    """Leave these windows of the shard, as a smaller sample does."""
    path = folder / "windows" / "00000.parquet"
    table, manifest = read_table(path, "windows")
    rows = [row for row in table.to_pylist() if row["data_id"] in data_ids]
    names = ("settings", "inputs", "tokenizer")
    write_table(path, "windows", rows, **{name: getattr(manifest, name) for name in names})


def partial_of(path):
    return path.with_name(path.name + ".partial")


def writer_of(path, windows=None, **changes):
    windows = windows or window_store(path.parents[1], "00000")
    return ScoreWriter(path, "nll_scores", windows, **score_manifest(**changes))


def finish_store(path, data_ids=IDS):
    with writer_of(path) as writer:
        append(writer, data_ids)
        return writer.finish()


def ids_in(path):
    return read_table(path, "nll_scores")[0].column("data_id").to_pylist()


def append(writer, data_ids):
    """Append one record a window, as scoring does; gives the ids that were missing."""
    missing = [data_id for data_id in data_ids if data_id not in writer]
    for data_id in missing:
        writer.append([score_row(data_id)])
    return missing


def unbroken(path, data_ids=IDS):
    """Bytes of a store that was written in one go."""
    other = path.with_name("unbroken.parquet")
    with writer_of(other) as writer:
        append(writer, data_ids)
        writer.finish()
    content = other.read_bytes()
    other.unlink()
    return content


def test_scores_come_back_in_the_windows_order_with_their_tokens_digest(path):
    with writer_of(path) as writer:
        append(writer, IDS[::-1])
        assert writer.finish() == len(IDS)
    table, manifest = read_table(path, "nll_scores")
    assert table.column("data_id").to_pylist() == IDS
    windows = window_store(path.parents[1], "00000")
    for row in table.to_pylist():
        assert row["tokens_digest"] == windows.tokens_digest_of[row["data_id"]]
        for name, values in score_row(row["data_id"]).items():
            assert row[name] == (values if name == "data_id" else values.tolist())
    expected = score_manifest() | {"tokenizer": windows.tokenizer}
    assert {name: getattr(manifest, name) for name in expected} == expected
    assert os.listdir(path.parent) == [path.name]


def test_scoring_goes_on_behind_a_record_that_is_cut_at_any_byte(path):
    """A kill leaves a prefix of the last record, of any length; all before it is kept."""
    windows = window_store(path.parents[1], "00000")
    with writer_of(path, windows) as writer:
        append(writer, IDS[:2])
        before = partial_of(path).stat().st_size
        append(writer, IDS[2:3])
    whole = partial_of(path).read_bytes()
    assert before < len(whole)
    for end in range(before, len(whole) + 1):
        partial_of(path).write_bytes(whole[:end])
        with writer_of(path, windows) as writer:
            kept = 3 if end == len(whole) else 2
            assert [data_id for data_id in IDS if data_id in writer] == IDS[:kept]
        assert partial_of(path).read_bytes()[4096:] == whole[4096 : before if kept == 2 else None]


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 300])
def test_a_store_that_was_cut_and_went_on_is_that_of_an_unbroken_run(path, cut):
    with writer_of(path) as writer:
        append(writer, IDS[:3])
    os.truncate(partial_of(path), partial_of(path).stat().st_size - cut)
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[2:]
        writer.finish()
    assert path.read_bytes() == unbroken(path)


def test_a_record_with_a_flipped_bit_is_not_kept(path):
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
    assert path.read_bytes() == unbroken(path)


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096])
def test_a_header_that_is_cut_short_or_garbled_starts_anew(path, size):
    with writer_of(path) as writer:
        append(writer, IDS[:2])
    partial_of(path).write_bytes(partial_of(path).read_bytes()[:size].replace(b"{", b"\xff"))
    with writer_of(path) as writer:
        assert append(writer, IDS[:2]) == IDS[:2]


@pytest.mark.parametrize("stops", [[1], [5], [1, 2, 3, 11], [12]])
def test_a_broken_run_ends_in_the_same_bytes_as_an_unbroken_one(path, stops):
    for stop in stops:
        with writer_of(path) as writer:
            append(writer, IDS[:stop])
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[stops[-1] :]
        writer.finish()
    assert path.read_bytes() == unbroken(path)
    assert not partial_of(path).exists()


def test_an_unchanged_store_keeps_its_bytes_and_gets_a_new_time(path):
    finish_store(path, IDS)
    before = path.read_bytes()
    os.utime(path, (0, 0))
    with writer_of(path, code_digest="new code") as writer:
        assert append(writer, IDS) == []
        writer.finish()
    assert path.read_bytes() == before
    assert path.stat().st_mtime > 0
    assert os.listdir(path.parent) == [path.name]


def test_ids_that_are_there_are_kept_and_missing_ones_added(path):
    finish_store(path, IDS[3:6])
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[:3] + IDS[6:]
        writer.finish()
    assert path.read_bytes() == unbroken(path)


def test_scores_of_windows_that_went_stay_behind_the_others(path, tmp_path):
    """A sample of 4 that shrinks to 2 and grows to 4 again scores nothing twice."""
    four, two = [IDS[row] for row in (0, 3, 8, 11)], [IDS[row] for row in (3, 11)]
    sample_windows(tmp_path, four)
    assert finish_store(path, four) == 4
    whole = path.read_bytes()
    rows = read_table(path, "nll_scores")[0].to_pylist()

    sample_windows(tmp_path, two)
    with writer_of(path) as writer:
        assert append(writer, two) == []
        assert writer.finish() == 2
    assert ids_in(path) == [IDS[3], IDS[11], IDS[0], IDS[8]]
    smaller = path.read_bytes()
    with writer_of(path) as writer:
        assert writer.finish() == 2
    assert path.read_bytes() == smaller

    make_windows(tmp_path)
    sample_windows(tmp_path, four)
    with writer_of(path) as writer:
        assert append(writer, four) == []
        assert writer.finish() == 4
    assert read_table(path, "nll_scores")[0].to_pylist() == rows
    assert path.read_bytes() == whole


def test_a_shard_that_has_no_windows_at_present_keeps_its_scores(path, tmp_path):
    finish_store(path, IDS)
    make_windows(tmp_path, [])
    with writer_of(path) as writer:
        assert writer.finish() == 0
    assert ids_in(path) == IDS


@pytest.mark.parametrize("where", ["final", "partial"])
def test_a_changed_document_rescores_its_windows_alone(path, tmp_path, where):
    with writer_of(path) as writer:
        append(writer, IDS)
        if where == "final":
            writer.finish()
    # The filler moves the numbers of beta's tokens.
    make_windows(tmp_path, documents={"alpha": 48, "filler": 1, "beta": 48})
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[6:]
        assert writer.finish() == 12
    assert path.read_bytes() == unbroken(path)
    digests = window_store(tmp_path, "00000").tokens_digest_of
    assert {
        row["data_id"]: row["tokens_digest"] for row in read_table(path, "nll_scores")[0].to_pylist()
    } == digests


def test_stale_scores_leave_the_store_even_if_nothing_is_scored(path, tmp_path):
    finish_store(path, IDS)
    make_windows(tmp_path, documents={"alpha": 48, "filler": 1, "beta": 48})
    with writer_of(path) as writer:
        assert writer.finish() == 6
    assert ids_in(path) == IDS[:6]


def test_scores_of_a_window_that_came_back_with_other_tokens_are_not_kept(path, tmp_path):
    finish_store(path, IDS)
    sample_windows(tmp_path, IDS[:6])
    with writer_of(path) as writer:
        writer.finish()
    make_windows(tmp_path, documents={"alpha": 48, "filler": 1, "beta": 48})
    with writer_of(path) as writer:
        assert append(writer, IDS) == IDS[6:]


def test_ids_that_are_not_wanted_now_stay_for_later(path):
    """A keep ratio that grows and shrinks scores nothing twice."""
    finish_store(path, IDS)
    with writer_of(path) as writer:
        append(writer, IDS[:2])
        assert writer.finish() == len(IDS)


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
def test_scores_of_other_settings_are_not_kept(path, capsys, change):
    finish_store(path, IDS[:3])
    with writer_of(path) as writer:
        append(writer, IDS[3:6])  # left in the partial file
    with writer_of(path, **change) as writer:
        assert not any(data_id in writer for data_id in IDS)
    what = "columns (now without long_nll)" if "without" in change else next(iter(change))
    assert capsys.readouterr().err == f"{path} was scored with other {what}; its windows are scored anew\n"
    # The finished file is still there, for who goes back to its settings.
    with writer_of(path) as writer:
        assert [data_id for data_id in IDS if data_id in writer] == IDS[:3]
    assert capsys.readouterr().err == ""


def test_scores_of_another_tokenizer_are_not_kept(path, tmp_path, capsys):
    finish_store(path, IDS[:3])
    make_windows(tmp_path, tokenizer="u" * 64)
    with writer_of(path) as writer:
        assert not any(data_id in writer for data_id in IDS)
    said = f"{path} was scored with other tokenizer; its windows are scored anew\n"
    assert capsys.readouterr().err == said


def test_a_store_of_another_schema_version_is_refused_and_left(path):
    """Its scores cost GPU days: who reads it anew may want to convert it."""
    finish_store(path, IDS[:3])
    table = pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata.metadata[b"longspan"]
    old = metadata.replace(b'"schema_version": 1', b'"schema_version": 0')
    pq.write_table(table.replace_schema_metadata({b"longspan": old}), path)
    before = path.read_bytes()
    message = (
        f"{path} has schema version 0, this longspan reads 1; "
        "delete it and run the same target again, which reruns score_short"
    )
    with refused(message, SchemaVersionError), writer_of(path):
        pass
    assert path.read_bytes() == before
    # The lock is free again.
    path.unlink()
    with writer_of(path) as writer:
        assert append(writer, IDS[:1]) == IDS[:1]


def test_other_code_alone_keeps_the_scores(path):
    finish_store(path, IDS[:3])
    with writer_of(path, code_digest="new code") as writer:
        append(writer, IDS[3:6])
    with writer_of(path, code_digest="newer code") as writer:
        assert append(writer, IDS[:6]) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_final_file_is_named_and_scored_anew(path, capsys, damage):
    finish_store(path, IDS)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-20])
    with writer_of(path) as writer:
        fault = "damaged" if damage == "flipped" else "not a whole Parquet file"
        said = capsys.readouterr().err
        assert said.startswith(f"{path} is {fault} (")
        assert said.endswith("which reruns score_short; its windows are scored anew\n")
        assert append(writer, IDS) == IDS
        writer.finish()
    assert path.read_bytes() == unbroken(path)


def test_an_empty_shard_has_an_empty_store(path, tmp_path):
    make_windows(tmp_path, [])
    with writer_of(path) as writer:
        assert writer.finish() == 0
    assert read_table(path, "nll_scores")[0].num_rows == 0


def test_a_second_writer_is_refused_and_the_holder_named(path):
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from longspan.scoring.store import ScoreWriter
        from stored_tables import score_manifest, score_row, window_store
        path = Path(sys.argv[1])
        windows = window_store(path.parents[1], "00000")
        with ScoreWriter(path, "nll_scores", windows, **score_manifest()) as writer:
            writer.append([score_row("books-00000_0000001")])
            print("open", flush=True)
            time.sleep(60)
    """)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SLURM_JOB_ID": "77"}
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert holder.stdout.readline() == "open\n"
        host = os.uname().nodename
        message = (
            f"{partial_of(path)} is held by process {holder.pid} on {host} (SLURM job 77); "
            "wait until it ends, or end it, then run again"
        )
        with refused(message), writer_of(path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    # A killed holder holds nothing, and what it wrote is there.
    with writer_of(path) as writer:
        assert append(writer, IDS[:2]) == IDS[1:2]


def test_a_writer_that_waited_while_the_holder_finished_takes_the_new_file(path, monkeypatch):
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


def test_appended_rows_are_on_the_disk_when_append_returns(path):
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


def test_a_full_disk_is_named_and_what_is_scored_stays(tmp_path):
    starts = range(0, 8 * 999, 8)
    make_windows(tmp_path, [("alpha", start) for start in starts], {"alpha": 8 * 999})
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "00000.parquet"
        message = f"[Errno {errno.ENOSPC}] no space left on the disk of {disk}; free some and run again"
        with refused(message, OSError), writer_of(path) as writer:
            for number in range(1, 1000):
                writer.append([score_row(f"books-00000_{number:07d}")])
        with writer_of(path) as writer:
            assert IDS[0] in writer
            there = sum(f"books-00000_{number:07d}" in writer for number in range(1, 1000))
        assert 20 < there < 200


def test_missing_windows_are_scored_and_progress_is_shown(path, capsys):
    scored = []

    def load_scorer():
        def score(unscored):
            for data_id, input_ids in unscored:
                scored.append((data_id, input_ids.tolist()))
                values = np.full(7, input_ids[0] / 8, np.float16)
                yield {"short_nll": values, "long_nll": values}

        return score

    with writer_of(path) as writer:
        writer.append([score_row(IDS[1])])
        # What is wanted of other shards is theirs to score.
        writer.add_missing(["books-00001_0000001", *IDS[:3]], load_scorer)
        assert writer.finish() == 3
    assert scored == [(IDS[0], list(range(100, 108))), (IDS[2], list(range(116, 124)))]
    table = read_table(path, "nll_scores")[0]
    assert table.column("short_nll")[0].as_py() == [12.5] * 7
    assert "scores 00000: 100%" in capsys.readouterr().err

    def never():
        raise AssertionError("a complete store needs no model")

    with writer_of(path) as writer:
        writer.add_missing(IDS[:3], never)


def test_what_was_scored_before_an_error_is_kept(path):
    def load_scorer():
        def score(unscored):
            for number, _ in enumerate(unscored):
                if number == 2:
                    raise ValueError("not finite")
                yield {"short_nll": np.zeros(7, np.float16), "long_nll": np.zeros(7, np.float16)}

        return score

    with pytest.raises(ValueError, match="not finite"), writer_of(path) as writer:
        writer.add_missing(IDS[:3], load_scorer)
    with writer_of(path) as writer:
        assert [data_id in writer for data_id in IDS[:3]] == [True, True, False]


def test_the_partial_files_header_is_readable_and_says_who_holds_it(path):
    with writer_of(path):
        header = json.loads(partial_of(path).read_bytes())
        assert header["holder"] == f"process {os.getpid()} on {os.uname().nodename}"
