"""The figures show what the tables hold; that they repeat byte for byte is tested with their script."""

import re

import numpy as np
import pyarrow as pa
import pytest

from longspan.reporting import figures
from longspan.reporting.figures import draw_evaluation, draw_exposures, draw_selections, draw_trainings
from longspan.store.tables import write_table


def selection(path, kept, method="random"):
    rows = [
        {
            "data_id": f"x_{number}",
            "category": "prose" if number % 2 else "verse",
            "score": number / 10,
            "rank": number + 1,
            "percentile": 0.5,
            "kept": number < kept,
            "reason": "",
        }
        for number in range(7)
    ]
    write_table(path, "selection", rows, settings={"method": method})
    return path


def texts(path):
    """What is written in an SVG; matplotlib notes each text beside its glyphs."""
    return [text.strip() for text in re.findall(r"<!-- (.*?) -->", path.read_text())]


def test_selections_count_kept_and_dropped_windows(tmp_path):
    tables = {"few": selection(tmp_path / "few", 2), "all": selection(tmp_path / "all", 7, "longattn")}
    draw_selections(tables, tmp_path / "deep" / "figure.svg")
    found = texts(tmp_path / "deep" / "figure.svg")
    for text in ("few", "all", "kept (2)", "dropped (5)", "kept (7)", "dropped (0)", "prose", "verse"):
        assert text in found
    assert {"random draw", "long-dependency score (LDS)"} <= set(found)


def test_trainings_and_evaluations_are_labelled_by_name(tmp_path):
    columns = ("weight_mean", "weight_std", "share_above_one", "learning_rate", "gradient_norm")
    steps = [
        {
            "step": step,
            "loss_weighted": 3.0 / step,
            "loss_unweighted": 4.0 / step,
            "tokens_seen": step,
            **dict.fromkeys(columns, 1.0),
        }
        for step in (1, 2)
    ]
    write_table(tmp_path / "metrics", "training_metrics", steps, settings={})
    draw_trainings({"run/dense": tmp_path / "metrics"}, tmp_path / "trainings.svg")
    assert {"run/dense", "weighted loss", "plain cross-entropy", "update"} <= set(
        texts(tmp_path / "trainings.svg")
    )

    parts = [
        {
            "data_id": "x",
            "document_id": "d",
            "category": "c",
            "position_start": start,
            "position_stop": start + 10,
            "nll_sum": 20.0,
        }
        for start in (1, 11)
    ]
    write_table(tmp_path / "evaluation", "evaluation", parts, settings={})
    draw_evaluation("position_nll", {"run/base": tmp_path / "evaluation"}, tmp_path / "evaluation.svg")
    assert {"run/base", "held-out perplexity"} <= set(texts(tmp_path / "evaluation.svg"))


def test_effective_contexts_are_drawn_by_training(tmp_path):
    rows = [
        {"context_start": start, "context_stop": stop, "targets": 3, "weight": 1.5, "is_tail": start > 8}
        for start, stop in ((0, 8), (8, 16), (16, 32))
    ]
    write_table(tmp_path / "exposure", "training_exposure", rows, settings={})
    draw_exposures({"run/exact": tmp_path / "exposure"}, tmp_path / "exposure.svg")
    found = set(texts(tmp_path / "exposure.svg"))
    assert {"run/exact", "share of the targets (%)", "weight by context"} <= found


def test_many_windows_make_a_small_figure(tmp_path):
    rng = np.random.default_rng()
    windows = 60_000
    score = rng.normal(size=windows)
    rank = np.empty(windows, np.int64)
    rank[np.argsort(-score)] = np.arange(1, windows + 1)
    table = pa.table(
        {
            "data_id": [f"x_{number}" for number in range(windows)],
            "category": ["prose", "verse", "rare"] * (windows // 3 - 1) + ["prose", "verse", "verse"],
            "score": score,
            "rank": rank,
            "percentile": np.full(windows, 50.0),
            "kept": rank <= windows // 8,
            "reason": [""] * windows,
        }
    )
    write_table(tmp_path / "many", "selection", table, settings={"method": "random"})
    draw_selections(dict.fromkeys("abcd", tmp_path / "many"), tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size < 300_000
    assert {"kept (7,500)", "dropped (52,500)", "rare"} <= set(texts(tmp_path / "figure.svg"))


def test_a_legend_of_many_models_lies_beside_the_panels(tmp_path, monkeypatch):
    panels = {}

    def keep(figure, path):
        figure.canvas.draw()
        (legend,) = figure.legends
        boxes = [axes.get_window_extent() for axes in figure.axes]
        panels[path.stem] = (
            not any(legend.get_window_extent().overlaps(box) for box in boxes),
            [text.get_text() for text in legend.get_texts()],
        )

    monkeypatch.setattr(figures, "_save", keep)
    part = {"data_id": "x", "document_id": "d", "category": "c", "position_start": 1, "position_stop": 9}
    write_table(tmp_path / "one", "evaluation", [part | {"nll_sum": 20.0}], settings={})
    for count in (18, 40):
        names = [f"a-run-with-a-name/loss{number}/seed0" for number in range(count)]
        draw_evaluation("position_nll", dict.fromkeys(names, tmp_path / "one"), tmp_path / f"{count}.svg")
    is_apart, names = panels["18"]
    assert is_apart
    assert len(names) == 18
    is_apart, names = panels["40"]
    assert is_apart
    assert (len(names), names[-1]) == (24, "and 17 more")


def test_a_missing_table_leaves_no_figure(tmp_path):
    with pytest.raises(ValueError, match="is missing; run the same target again, which runs select_windows"):
        draw_selections({"x": tmp_path / "none"}, tmp_path / "figure.svg")
    assert not (tmp_path / "figure.svg").exists()
