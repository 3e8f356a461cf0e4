import numpy as np
import pytest

from longspan.reporting.evaluation_table import as_tsv, evaluation_rows
from longspan.reporting.page.evaluations import (
    helped_section,
    measure_cards,
    read_evaluations,
    read_rows,
    verdict_section,
)
from longspan.reporting.verdict import verdicts
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
def comparison(tmp_path):
    def model(loss, *changes, controls=()):
        tables = [write(tmp_path / f"{loss}{number}", change) for number, change in enumerate(changes)]
        return {
            "run": "main",
            "loss": loss,
            "tables": tables,
            "short_context": 20,
            "controls": dict(controls),
            "is_control": not controls,
        }

    block = {
        "evaluation": "position_nll",
        "task": "position_nll",
        "run": "main",
        "base": write(tmp_path / "base", 0.0),
        "models": [
            model("dense", -0.25, -0.15, controls={"plain": ["main", "plain"]}),
            model("plain", 0.1, 0.1),
        ],
    }
    return {"seed": 3, "evaluations": [block]}


@pytest.fixture
def tables(comparison, tmp_path):
    rows = evaluation_rows(comparison["evaluations"], seed=comparison["seed"])
    (tmp_path / "evaluation.tsv").write_text(as_tsv(rows))
    return read_rows(tmp_path / "evaluation.tsv"), read_evaluations(comparison), verdicts(rows)


def test_the_table_has_means_over_seeds_and_changes_against_base_and_controls(tables):
    rows, evaluations, _ = tables
    section = helped_section(rows, evaluations)
    models = {row["name"]: row for row in section["rows"]}
    assert {name: row["seeds"] for name, row in models.items()} == {
        "main/base": None,
        "main/dense": 2,
        "main/plain": 2,
    }
    nll = {name: row["values"]["position_nll/nll"] for name, row in models.items()}
    # Half of the positions change by the number itself, half by twice of it.
    assert nll["main/dense"]["mean"] - nll["main/base"]["mean"] == pytest.approx(1.5 * -0.2, abs=1e-6)
    assert nll["main/dense"]["sd"] == pytest.approx(np.std([1.5 * 0.25, 1.5 * 0.15], ddof=1))
    assert nll["main/base"]["changes"] == {}
    changes = nll["main/dense"]["changes"]
    assert list(changes) == ["base", "plain"]
    assert changes["base"]["value"] == pytest.approx(1.5 * -0.2, abs=1e-6)
    assert changes["base"]["text"].startswith("−0.3")
    assert changes["plain"]["value"] == pytest.approx(1.5 * -0.3, abs=1e-6)
    labels = {other["name"]: other["label"] for other in section["compared"]}
    assert labels["plain"] == "against plain loss on the same windows"


def test_changes_by_length_are_drawn_for_each_trained_model(tables):
    rows, evaluations, _ = tables
    (chart,) = helped_section(rows, evaluations)["changes"]
    assert chart["short_context"] == 20
    points = [point for point in chart["points"] if point["model"] == "main/dense"]
    assert [point["mean"] for point in points] == pytest.approx([-0.2, -0.2, -0.4, -0.4])
    assert [point["x"] for point in points] == sorted(point["x"] for point in points)
    assert all(point["low"] <= point["mean"] <= point["high"] for point in chart["points"])


def test_the_cards_tell_both_sides_of_the_short_context_apart(tables):
    rows, evaluations, _ = tables
    measure, sides = measure_cards(rows, evaluations)
    assert measure["detail"].endswith("9 documents, 2 seeds")
    assert sides["value"] == "−0.200 | −0.400"
    assert sides["detail"].startswith("beyond it gained more:")


def test_the_heading_is_the_verdicts_first_sentence(tables):
    _, _, paragraphs = tables
    found = verdict_section(paragraphs, [])
    assert found["sentence"].startswith("main/dense by position_nll: ")
    assert f"{found['sentence']} {found['more'][0]}" == paragraphs[0]
    assert verdict_section([], [])["sentence"] is None


def test_models_measured_on_other_samples_are_refused(comparison, tmp_path):
    row = {"data_id": "y", "document_id": "d", "category": "c", "position_start": 1, "position_stop": 2}
    write_table(tmp_path / "other", "evaluation", [row | {"nll_sum": 1.0}], settings={})
    comparison["evaluations"][0]["models"][0]["tables"][1] = str(tmp_path / "other")
    with pytest.raises(ValueError, match="was measured on other samples than the base model"):
        read_evaluations(comparison)
