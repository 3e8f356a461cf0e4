import numpy as np
import pytest

from longspan.reporting.page.evaluations import helped_section, measured, verdict_cards
from longspan.store.tables import write_table


def write(path, change):
    rng = np.random.default_rng(7)
    rows = [
        {
            "data_id": f"x_{window}",
            "document_id": f"d{window}",
            "category": "c",
            "position_start": start,
            "position_stop": start + 10,
            "nll_sum": 10 * (rng.normal(3.0, 0.5) + (change if start < 20 else 2 * change)),
        }
        for window in range(9)
        for start in (1, 11, 21, 31)
    ]
    write_table(path, "evaluation", rows, settings={"position_bins": 4})
    return str(path)


@pytest.fixture
def found(tmp_path):
    entry = {
        "run": "main",
        "evaluation": "position_nll",
        "task": "position_nll",
        "base": write(tmp_path / "base", 0.0),
        "trained": {
            "dense/seed0": write(tmp_path / "0", -0.25),
            "dense/seed1": write(tmp_path / "1", -0.15),
            "plain/seed0": write(tmp_path / "2", 0.1),
        },
    }
    return measured(entry, short_context=20)


def test_the_table_has_means_over_seeds_and_paired_changes(found):
    section = helped_section(found)
    rows = {row["name"]: row for row in section["rows"]}
    assert [row["seeds"] for row in section["rows"]] == [None, 2, 1]
    nll = {name: row["values"]["position_nll/nll"] for name, row in rows.items()}
    # Half of the positions change by the number itself, half by twice of it.
    assert nll["main/dense"]["mean"] - nll["main/base"]["mean"] == pytest.approx(1.5 * -0.2)
    assert nll["main/dense"]["sd"] == pytest.approx(np.std([1.5 * 0.25, 1.5 * 0.15], ddof=1))
    assert nll["main/dense"]["change"].startswith("−0.3000 [")
    assert nll["main/plain"]["sd"] is None
    perplexity = rows["main/plain"]["values"]["position_nll/perplexity"]
    assert perplexity["mean"] == pytest.approx(np.exp(nll["main/plain"]["mean"]))


def test_changes_by_position_are_drawn_for_each_trained_model(found):
    (chart,) = helped_section(found)["changes"]
    assert chart["short_context"] == 20
    points = [point for point in chart["points"] if point["model"] == "main/dense"]
    assert [point["x"] for point in points] == [1, 11, 21, 31]
    assert [point["mean"] for point in points] == pytest.approx([-0.2, -0.2, -0.4, -0.4])
    assert all(point["low"] <= point["mean"] <= point["high"] for point in chart["points"])


def test_the_cards_tell_both_sides_of_the_short_context_apart(found):
    measure, sides = verdict_cards(found)
    assert measure["detail"].endswith("9 documents, 2 seeds")
    assert sides["value"] == "−0.200 | −0.400"
    assert sides["detail"].startswith("beyond it gained more;")


def test_seeds_measured_on_other_samples_are_refused(tmp_path):
    entry = {
        "run": "main",
        "evaluation": "position_nll",
        "task": "position_nll",
        "base": write(tmp_path / "base", 0.0),
        "trained": {"dense/seed0": write(tmp_path / "0", 0.1), "dense/seed1": str(tmp_path / "1")},
    }
    row = {"data_id": "y", "document_id": "d", "category": "c", "position_start": 1, "position_stop": 2}
    write_table(tmp_path / "1", "evaluation", [row | {"nll_sum": 1.0}], settings={})
    with pytest.raises(ValueError, match="seeds of one loss were measured on different samples"):
        measured(entry, None)
