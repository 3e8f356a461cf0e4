import subprocess
import sys

import numpy as np
import pytest

from longspan.scoring.index import IndexedScores, build_index
from longspan.store.tables import write_table
from longspan.training.windows import TrainingWindows
from stored_tables import score_row, window_store, write_scores, write_stores, write_tokens, write_windows


@pytest.fixture
def ids(tmp_path):
    ids = write_stores(tmp_path)
    return ids["00000"] + ids["00001"]


def indexed_scores(folder):
    windows, scores = (
        {shard: folder / kind / f"{shard}.parquet" for shard in ("00000", "00001")}
        for kind in ("windows", "scores")
    )
    rows, inputs = build_index(windows, scores)
    write_table(folder / "index.parquet", "score_index", rows, settings={}, inputs=inputs)
    return IndexedScores(folder / "index.parquet", scores, window_store(folder).windows_digests)


def test_an_item_is_a_window_with_its_scores(tmp_path, ids):
    dataset = TrainingWindows(window_store(tmp_path), [ids[4], ids[0]], indexed_scores(tmp_path))
    assert len(dataset) == 2
    item = dataset[0]
    assert item.keys() == {"sequence_ids", "input_ids", "short_nll"}
    assert item["sequence_ids"] == ids[4]
    assert item["input_ids"].tolist() == list(range(108, 116))
    assert item["short_nll"].dtype == np.float32
    assert item["short_nll"].tolist() == score_row(ids[4])["short_nll"].tolist()
    assert dataset[1]["sequence_ids"] == ids[0]


def test_without_scores_an_item_is_the_window_alone(tmp_path, ids):
    dataset = TrainingWindows(window_store(tmp_path), ids, None)
    assert dataset[3].keys() == {"sequence_ids", "input_ids"}


def test_equal_data_have_equal_digests_and_any_difference_shows(tmp_path, ids):
    windows, scores = window_store(tmp_path), indexed_scores(tmp_path)
    digest = TrainingWindows(windows, ids, scores).digest()
    assert TrainingWindows(windows, ids, indexed_scores(tmp_path)).digest() == digest
    others = {
        TrainingWindows(windows, ids, None).digest(),
        TrainingWindows(windows, ids[:-1], scores).digest(),
        TrainingWindows(windows, ids[::-1], scores).digest(),
    }
    for shard in ("00000", "00001"):
        path = tmp_path / "scores" / f"{shard}.parquet"
        write_scores(path, window_store(tmp_path, shard), inputs={"model": "n"})
    assert TrainingWindows(windows, ids, indexed_scores(tmp_path)).digest() == digest  # the same numbers
    tokens = tmp_path / "tokens" / "00001.parquet"
    write_tokens(tokens, {"alpha": 3, "beta": 16})
    write_windows(tmp_path / "windows" / "00001.parquet", tokens, [("beta", 0), ("beta", 8)])
    others.add(TrainingWindows(window_store(tmp_path), ids, scores).digest())
    assert len(others | {digest}) == 5


def test_scores_and_windows_are_read_without_torch():
    program = "import longspan.training.windows, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
