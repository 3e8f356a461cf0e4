from typing import ClassVar

import pandas as pd
import pytest

from longspan.evaluation.task import VALUE_COLUMNS, EvaluationTask, Measure
from longspan.store.contracts import CONTRACTS
from refusals import refused


class Plain(EvaluationTask):
    """Rows that are values already."""

    name: ClassVar[str] = "plain"
    label: ClassVar[str] = "plain"
    table: ClassVar[str] = "evaluation"
    measures: ClassVar[tuple[Measure, ...]] = (Measure("right", "share of right answers", True),)

    def values(self, rows):
        return rows

    def summary(self, base, trained):
        return []

    def draw(self, axes, tables):
        pass


def rows(**columns):
    given = {
        "measure": "right",
        "sample": ["b", "a"],
        "cluster": ["d", "d"],
        "group": "",
        "length": [4096, 8192],
        "value": [0, 1],
        "weight": 1,
    }
    return pd.DataFrame(given | columns)


def test_values_are_indexed_by_measure_and_sample_and_are_floats():
    found = Plain().checked_values(rows().assign(note="x"), "here")
    assert found.index.tolist() == [("right", "a"), ("right", "b")]
    assert found["value"].tolist() == [1.0, 0.0]
    assert list(found.columns) == list(VALUE_COLUMNS[2:])
    assert {str(found[name].dtype) for name in ("length", "value", "weight")} == {"float64"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"measure": "wrong"}, "here: task 'plain' has no measure 'wrong', only right"),
        ({"value": [0, float("nan")]}, "here: right of sample a is nan with weight 1.0; delete the table"),
        ({"weight": [-1, 1]}, "here: right of sample b is 0.0 with weight -1.0; delete the table"),
        ({"sample": "a"}, "here: sample a stands twice in right of task 'plain'"),
    ],
)
def test_what_is_no_value_is_refused_by_name(columns, message):
    with pytest.raises(ValueError, match=message):
        Plain().checked_values(rows(**columns), "here")


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="here: values of task 'plain' lack cluster, weight"):
        Plain().checked_values(rows().drop(columns=["cluster", "weight"]), "here")


def test_rows_without_a_column_or_with_a_foreign_one_are_refused_when_they_are_measured():
    row = dict.fromkeys(CONTRACTS["evaluation"].columns.names)
    Plain().require_columns([row])
    misspelt = {("extra" if name == min(row) else name): None for name in row}
    with refused(f"rows of task 'plain' lack {min(row)} and have extra, no columns of its table"):
        Plain().require_columns([row, misspelt])
