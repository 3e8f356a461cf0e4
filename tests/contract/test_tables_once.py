"""No job opens the same table twice."""

import os
from collections import Counter

import pyarrow.parquet as pq
import pytest

from longspan.store import tables
from tiny_chain import TINY, Chain

# Every script that reads tables, with a loss in the export so that it reads scores too.
SETTINGS = TINY | {"exports": {"kept": {"selection": "half", "format": "jsonl.zst", "loss": "dense"}}}
RULES = (
    ("read_documents", {}),
    ("tokenize_documents", {}),
    ("assign_windows", {}),
    ("score_attention", {}),
    ("score_short", {}),
    ("score_ladm", {}),
    ("score_prolong", {}),
    ("select_windows", {}),
    ("list_kept_windows", {}),
    ("collect_weights", {}),
    ("export_windows", {}),
    ("train", {}),
    ("evaluate", {"trained": "base"}),
    ("compare_models", {}),
    ("summarize_results", {}),
    ("draw_figures", {}),
    ("aggregate_shard", {}),
    ("aggregate_selection", {}),
    ("build_report", {}),
)


@pytest.fixture
def opened(monkeypatch):
    counts = Counter()

    class Counted(pq.ParquetFile):
        def __init__(self, path, *arguments, **options):
            counts[os.path.realpath(path)] += 1
            super().__init__(path, *arguments, **options)

    monkeypatch.setattr(tables.pq, "ParquetFile", Counted)
    return counts


def test_no_job_opens_a_table_twice(chain, opened):
    chain = Chain(SETTINGS)
    twice = {}
    for rule, names in RULES:
        opened.clear()
        chain.make(rule, **names)
        twice[rule] = {os.path.relpath(path): count for path, count in opened.items() if count > 1}
    assert {rule: paths for rule, paths in twice.items() if paths} == {}
