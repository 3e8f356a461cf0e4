import numpy as np
import pandas as pd
import pytest

from longspan.reporting.page.selections import CELLS, DOTS, selection_counts
from longspan.selection.methods.longattn import lds_scores
from longspan.selection.table import selection_table

AXES = {"strength": "DS", "variance": "variance"}


def selection(windows, *, ratio=0.25, categories=3, score=None):
    rng = np.random.default_rng()
    numbers = pd.DataFrame({"strength": rng.random(windows), "variance": rng.gamma(2.0, 1e-7, windows)})
    category = [f"c{number % categories}" for number in range(windows)]
    if score is None:
        score = lds_scores(numbers["strength"], numbers["variance"], category=category)
    ids = [f"x-00000_{number:07d}" for number in range(windows)]
    table = selection_table(ids, score, keep={"ratio": ratio}, category=category)
    return pd.concat([table, numbers], axis=1)


def test_the_line_of_a_cut_parts_kept_from_dropped():
    table = selection(300)
    found = selection_counts(table, AXES, "LDS")
    assert len(found["dots"]) == 300
    for category in found["categories"]:
        a, b, c = category["line"]
        rows = table[table["category"] == category["name"]]
        beyond = a * rows["strength"] + b * rows["variance"] > c
        assert (beyond == rows["kept"]).all()
        assert rows["score"][rows["kept"]].min() > category["cut"] > rows["score"][~rows["kept"]].max()


def test_a_score_that_is_not_affine_in_the_numbers_has_no_line():
    table = selection(200, score=np.random.default_rng().random(200))
    assert not any("line" in category for category in selection_counts(table, AXES, "s")["categories"])


def test_the_data_stay_small_and_count_every_window():
    table = selection(40 * DOTS)
    found = selection_counts(table, AXES, "LDS")
    assert "dots" not in found
    cells = np.array(found["cells"]["cells"])
    assert len(cells) <= CELLS**2
    assert cells[:, 2].sum() == len(table)
    assert cells[:, 3].sum() == table["kept"].sum() == sum(found["scores"]["kept"])
    assert sum(found["scores"]["dropped"]) == (~table["kept"]).sum()
    assert len(found["rows"]) < 80


def test_windows_to_look_at_are_the_best_the_worst_and_those_at_the_cuts():
    table = selection(120, categories=2)
    rows = selection_counts(table, AXES, "LDS")["rows"]
    by_id = {row["data_id"]: row for row in rows}
    assert len(by_id) == len(rows)
    ranked = table.sort_values("rank")["data_id"].tolist()
    assert {by_id[data_id]["part"] for data_id in ranked[:12]} == {"top"}
    assert set(ranked[-12:]) <= by_id.keys()
    for name in ("c0", "c1"):
        own = table[table["category"] == name].sort_values("rank")
        edge = [*own["data_id"][own["kept"]].tail(2), *own["data_id"][~own["kept"]].head(2)]
        assert set(edge) <= by_id.keys()


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_a_selection_that_keeps_everything_or_is_of_one_number_has_no_line(ratio):
    table = selection(8, ratio=ratio, categories=1)
    found = selection_counts(table, {}, "score")
    assert found["axes"] == []
    assert "dots" not in found
    assert "cells" not in found
    assert ("cut" in found["categories"][0]) == (ratio < 1)
