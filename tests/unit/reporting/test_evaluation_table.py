import csv
import io
import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from evaluation_rows import Answers, estimate, row
from longspan.evaluation.task import Measure
from longspan.reporting.evaluation_table import (
    ALL,
    AREA,
    COLUMNS,
    Difference,
    Row,
    as_markdown,
    as_tsv,
    evaluation_rows,
    with_interval,
)
from longspan.store.tables import read_table, write_table

DOCUMENTS, PARTS = 12, (1, 33, 65, 97)


def nll_rows(gain, noise=0.0, seed=0):
    """Rows of position_nll: documents that differ, a gain at every position, noise of a training."""
    rng, luck = np.random.default_rng(0), np.random.default_rng(seed)
    return [
        {
            "data_id": f"x_{document:07d}",
            "document_id": f"d{document}",
            "category": "prose" if document % 2 else "verse",
            "position_start": start,
            "position_stop": start + 32,
            "nll_sum": 32 * (3 + rng.normal() - gain(start) + noise * luck.normal()),
        }
        for document in range(DOCUMENTS)
        for start in PARTS
    ]


@pytest.fixture
def block(tmp_path):
    """An evaluation of two seeds of a loss, its plain control and a base model."""

    def put(name, rows):
        path = tmp_path / f"{name}.parquet"
        write_table(path, "evaluation", rows, settings={"position_bins": 4})
        return str(path)

    def model(loss, gain, noise, controls, is_control):
        tables = [put(f"{loss}{seed}", nll_rows(gain, noise, seed + sum(map(ord, loss)))) for seed in (1, 2)]
        return {
            "run": "main",
            "loss": loss,
            "tables": tables,
            "short_context": 64,
            "controls": controls,
            "is_control": is_control,
        }

    return {
        "evaluation": "position_nll",
        "task": "position_nll",
        "run": "main",
        "base": put("base", nll_rows(lambda start: 0.0)),
        "models": [
            model("dense", lambda start: 0.2 + 0.3 * (start > 64), 0.01, {"plain": ["main", "plain"]}, False),
            model("plain", lambda start: 0.2, 0.01, {}, True),
        ],
    }


def by_name(rows):
    return {(row.loss, row.group): row for row in rows}


def test_a_row_for_each_model_and_group(block):
    rows = evaluation_rows([block], seed=0)
    groups = [ALL, "within 64 tokens", "beyond 64 tokens", "prose", "verse"]
    assert [(row.group, row.loss) for row in rows] == [
        (group, loss) for group in groups for loss in ("base", "dense", "plain")
    ]
    found = by_name(rows)
    made_of = found["dense", ALL].mean
    assert (made_of.samples, made_of.clusters, made_of.seeds) == (48, 12, 2)
    assert found["dense", "prose"].mean.clusters == 6
    assert found["base", ALL].mean.seeds == 1
    assert found["base", ALL].differences == {}
    assert list(found["dense", ALL].differences) == ["base", "plain"]
    assert list(found["plain", ALL].differences) == ["base"]
    assert found["plain", ALL].is_control


def test_differences_are_paired_and_told_where_they_are(block):
    found = by_name(evaluation_rows([block], seed=0))

    def compared(group, other):
        return found["dense", group].differences[other].estimate

    # Documents differ by about 1, and none of it is in a paired difference.
    assert found["base", ALL].mean.high - found["base", ALL].mean.low > 0.3
    for group, other, gain in (
        (ALL, "base", 0.35),
        (ALL, "plain", 0.15),
        ("within 64 tokens", "base", 0.2),
        ("within 64 tokens", "plain", 0.0),
        ("beyond 64 tokens", "base", 0.5),
        ("beyond 64 tokens", "plain", 0.3),
    ):
        assert compared(group, other).value == pytest.approx(-gain, abs=0.01)
    assert compared(ALL, "plain").high < 0
    assert compared("within 64 tokens", "plain").p > 0.05


def test_all_comparisons_of_trainings_are_adjusted_together_and_controls_take_no_part(block):
    rows = [row for row in evaluation_rows([block], seed=0) if row.group == "within 64 tokens"]
    dense, plain = rows[1], rows[2]
    p = [difference.estimate.p for difference in dense.differences.values()]
    adjusted = [difference.p_holm for difference in dense.differences.values()]
    assert adjusted == [2 * p[0], max(2 * p[0], p[1])]
    assert math.isnan(plain.differences["base"].p_holm)


def test_the_same_tables_give_the_same_text(block):
    first, second = (as_tsv(evaluation_rows([block], seed=0)) for _ in range(2))
    assert first == second


def test_models_measured_on_other_samples_are_refused(block):
    path = block["models"][0]["tables"][1]
    write_table(path, "evaluation", nll_rows(lambda start: 0.0)[:-1], settings={"position_bins": 4})
    with pytest.raises(ValueError, match=rf"{path} was measured on other samples than {block['base']}; del"):
        evaluation_rows([block], seed=0)


class Grid(Answers):
    """Samples at a few lengths, of two kinds."""

    lengths_are_a_grid: ClassVar[bool] = True
    measures: ClassVar[tuple[Measure, ...]] = (Measure("right", "share of right answers", True),)


def test_a_grid_of_lengths_has_each_length_and_the_area():
    samples = [(kind, length, n) for kind in ("needle", "words") for length in (1024, 4096) for n in range(8)]

    def values(path, task):
        good = 0.25 if path == "base" else 0.5
        rows = pd.DataFrame(
            {
                "measure": "right",
                "sample": [f"{kind}/{length}/{n}" for kind, length, n in samples],
                "cluster": [f"{kind}/{length}/{n}" for kind, length, n in samples],
                "group": [kind for kind, _, _ in samples],
                "length": [length for _, length, _ in samples],
                "value": [float(n < 8 * good + (length == 1024)) for _, length, n in samples],
                "weight": 1.0,
            }
        )
        return Grid(), Grid().checked_values(rows, path)

    model = {"run": "main", "loss": "dense", "tables": ["trained"], "short_context": None, "controls": {}}
    block = {"evaluation": "grid", "task": "answers", "run": "main", "base": "base"}
    rows = evaluation_rows([block | {"models": [model | {"is_control": False}]}], seed=0, read=values)
    found = by_name(rows)
    groups = [ALL, "length 1024", "length 4096", AREA, f"{AREA}: needle", f"{AREA}: words", "needle", "words"]
    assert list(dict.fromkeys(row.group for row in rows)) == groups
    assert found["base", "length 1024"].mean.value == 3 / 8
    assert found["base", AREA].mean.value == pytest.approx((3 / 8 + 2 / 8) / 2)
    assert found["dense", AREA].differences["base"].estimate.value == pytest.approx(1 / 4)


def test_a_category_may_be_called_as_a_group_of_ours(block):
    for path in [block["base"], *(path for model in block["models"] for path in model["tables"])]:
        table, manifest = read_table(path, "evaluation")
        rows = [row | {"category": row["category"].replace("verse", ALL)} for row in table.to_pylist()]
        write_table(path, "evaluation", rows, settings=manifest.settings)
    found = by_name(evaluation_rows([block], seed=0))
    assert found["base", ALL].mean.samples == 48
    assert found["base", f"{ALL} (group)"].mean.samples == 24


# As text


def test_the_table_reads_back():
    measured = row({"base": (0.1, 0.02), "shuffled": (-0.1, math.nan)})
    (found,) = csv.DictReader(io.StringIO(as_tsv([measured])), delimiter="\t")
    assert tuple(found) == COLUMNS
    assert (found["run"], found["loss"], found["measure"], found["clusters"]) == (
        "main",
        "dense",
        "right",
        "40",
    )
    assert (found["mean"], found["low"], found["difference_unit"]) == ("0.5", "0.49", "")
    assert (found["base_difference"], found["base_difference_high"]) == ("0.1", "0.11")
    assert (found["base_p"], found["base_p_holm"], found["shuffled_p_holm"]) == ("0.001", "0.02", "")
    assert found["plain_difference"] == ""


def test_perplexities_are_exp_at_the_end_and_differ_in_percent():
    measure = Measure("perplexity", "perplexity", False, exponential=True)
    found = Row(
        "main",
        "dense",
        "e",
        Answers(),
        measure,
        ALL,
        estimate(2.0),
        {"base": Difference(estimate(-0.1), 0.02)},
    )
    (cells,) = csv.DictReader(io.StringIO(as_tsv([found])), delimiter="\t")
    assert float(cells["mean"]) == pytest.approx(math.exp(2))
    assert float(cells["high"]) == pytest.approx(math.exp(2.01))
    assert cells["difference_unit"] == "%"
    assert float(cells["base_difference"]) == pytest.approx(100 * (math.exp(-0.1) - 1), abs=1e-6)
    assert "| 7.39 [7.32, 7.46] | −9.5% [−10.4, −8.6], p 0.020 |" in as_markdown([found])


def test_markdown_has_the_columns_that_are_used():
    text = as_markdown([row({}, loss="base"), row({"base": (0.1, 0.02), "plain": (0.0, 0.5)})])
    head, rule, base, trained = text.splitlines()[2:6]
    assert head == (
        "| model | measure | group | n | mean [95% interval] | against the base model | "
        "against plain loss on the same windows |"
    )
    assert rule.count("---") == 7
    assert base.startswith(
        "| main/base | share of right answers | all | 120 / 40 / 3 | 0.500 [0.490, 0.510] |"
    )
    assert "p 0.020 | +0.000 [−0.010, +0.010], p 0.50 |" in trained


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.123456, 0.12, 0.13), "0.123 [0.120, 0.130]"),
        ((123.456, 100, 140), "123 [100, 140]"),
        ((-0.5, -1.5, 0.5), "−0.5 [−1.5, 0.5]"),
        ((-0.5, math.nan, math.nan), "−0.50 [no interval]"),
        ((0.0, 0.0, 0.0), "0.00 [0.00, 0.00]"),
    ],
)
def test_numbers_have_as_many_digits_as_their_intervals_have_a_use_for(numbers, text):
    assert with_interval(*numbers) == text
