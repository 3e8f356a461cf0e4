"""The funnel: documents, windows and tokens at each step, and the reasons of what is left out."""

import copy
from collections import Counter
from pathlib import Path

from longspan.reporting.funnel import COLUMNS
from longspan.store.tables import open_table, read_table
from tiny_chain import TINY, Chain

SHARDS = ("00000", "00001")


def funnel(chain):
    """(documents, windows, tokens) by (step, name), in order."""
    header, *lines = (line.split("\t") for line in chain.path("funnel").read_text().splitlines())
    assert tuple(header) == COLUMNS
    return {
        (step, name): tuple(int(count.replace(",", "") or -1) for count in counts)
        for step, name, *counts in lines
    }


def rows(path, kind):
    return read_table(path, kind)[0].to_pylist()


def test_every_step_says_what_the_tables_hold(chain):
    found = funnel(chain)
    documents = [row for shard in SHARDS for row in rows(chain.path("documents", shard=shard), "documents")]
    tokens = [row for shard in SHARDS for row in rows(chain.path("tokens", shard=shard), "tokens")]
    windows = [row for shard in SHARDS for row in rows(chain.path("windows", shard=shard), "windows")]
    kept = {row["data_id"] for row in rows(chain.path("selection"), "selection") if row["kept"]}
    lengths = [len(row["input_ids"]) for row in tokens]
    # A stride of a window's length: as many windows as fit.
    cut = sum(length // 128 for length in lengths)
    assert found == {
        ("documents of the sources", "short"): (len(documents) + 2, -1, -1),
        ("held out for evaluation", "short"): (2, -1, -1),
        ("documents", "short"): (len(documents), -1, -1),
        ("tokenized", "short-128"): (len(documents), -1, sum(lengths)),
        ("too short for a window", "short-128"): (0, -1, 0),
        ("cut into windows", "short-128"): (len(documents), cut, cut * 128),
        ("not drawn by sampling", "short-128"): (-1, cut - len(windows), (cut - len(windows)) * 128),
        ("windows", "short-128"): (
            len({row["document_id"] for row in windows}),
            len(windows),
            len(windows) * 128,
        ),
        ("not kept", "half"): (-1, len(windows) - len(kept), (len(windows) - len(kept)) * 128),
        ("kept", "half"): (
            len({row["document_id"] for row in windows if row["data_id"] in kept}),
            len(kept),
            len(kept) * 128,
        ),
    }


def test_documents_that_are_left_out_are_counted_by_reason_and_short_ones_with_their_tokens(chain):
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["on_bad_document"] = "skip"
    settings |= {"runs": {}, "report": {"compare_selections": []}}
    Path("inputs/prose/prose_2.txt").write_text("\0")
    Path("inputs/prose/prose_3.txt").write_text(" \n")
    Path("inputs/prose/prose_4.txt").write_text("Too short.")
    skipping = Chain(settings)
    skipping.make_windows()
    for shard in SHARDS:
        skipping.make("score_attention", shard=shard)
    skipping.make("select_windows")
    skipping.make("summarize_results")
    found = funnel(skipping)
    assert found["left out: NUL bytes", "short"] == (1, -1, -1)
    assert found["left out: empty", "short"] == (1, -1, -1)
    assert found["documents of the sources", "short"] == (11, -1, -1)
    assert found["documents", "short"] == (7, -1, -1)
    short = next(
        row
        for shard in SHARDS
        for row in rows(skipping.path("tokens", shard=shard), "tokens")
        if row["document_id"] == "inputs/prose/prose_4.txt"
    )
    assert found["too short for a window", "short-128"] == (1, -1, len(short["input_ids"]))


def test_the_manifest_of_windows_counts_what_cutting_made(chain):
    tokens = rows(chain.path("tokens"), "tokens")
    categories = Counter(row["category"] for row in rows(chain.path("documents"), "documents"))
    assert open_table(chain.path("windows"), "windows")[1].counts == {
        **{f"documents of {category}": count for category, count in categories.items()},
        "documents": len(tokens),
        "tokens": sum(len(row["input_ids"]) for row in tokens),
        "short_documents": 0,
        "short_tokens": 0,
        "windows_cut": sum(len(row["input_ids"]) // 128 for row in tokens),
    }
