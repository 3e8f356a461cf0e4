"""Did it help: the verdict, the table of models by measures, and paired changes by position or length."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from longspan.evaluation.statistics import Samples, difference
from longspan.evaluation.task import Measure
from longspan.reporting.evaluation_table import (
    ALL,
    AREA,
    BASE,
    COMPARED,
    LABELS,
    context_groups,
    read_values,
    with_interval,
)
from longspan.reporting.page.document import finite

_REPLICATES = 1000
_LENGTHS = 48  # points of a curve; more are taken together


@dataclass(frozen=True)
class Evaluation:
    """Samples of one measure: of a base model, and of those that were trained from it.

    Attributes:
        name: of the evaluation.
        measure: the measure.
        base: samples of the base model.
        trained: samples by "run/loss", a row for each seed.
        short_context: tokens of the short context of the first model that has one.
        seed: of the bootstrap's draws.
    """

    name: str
    measure: Measure
    base: Samples
    trained: dict[str, Samples]
    short_context: int | None
    seed: int


def read_evaluations(comparison: Mapping) -> list[Evaluation]:
    """Samples of all measures of all evaluations.

    Args:
        comparison: the settings of `compare_models`.

    Raises:
        ValueError: a table that is missing or damaged, or of other samples than the base model's.
    """
    found = []
    for block in comparison["evaluations"]:
        task, base = read_values(block["base"], block["task"])
        models = {
            f"{model['run']}/{model['loss']}": [
                _same_samples(read_values(path, block["task"])[1], base, path) for path in model["tables"]
            ]
            for model in block["models"]
        }
        contexts = [model["short_context"] for model in block["models"] if model["short_context"] is not None]
        for measure in task.measures:
            if measure.name in base.index:
                found.append(
                    Evaluation(
                        name=block["evaluation"],
                        measure=measure,
                        base=_samples([base.loc[measure.name]]),
                        trained={
                            name: _samples([table.loc[measure.name] for table in tables])
                            for name, tables in models.items()
                        },
                        short_context=contexts[0] if contexts else None,
                        seed=comparison["seed"],
                    )
                )
    return found


def _same_samples(values: pd.DataFrame, base: pd.DataFrame, path: str) -> pd.DataFrame:
    if not values.index.equals(base.index):
        raise ValueError(
            f"{path} was measured on other samples than the base model; delete both tables and run the same "
            "target again, which reruns evaluate"
        )
    return values


def _samples(seeds: Sequence[pd.DataFrame]) -> Samples:
    first = seeds[0]
    return Samples(
        np.stack([values["value"].to_numpy() for values in seeds]),
        first["weight"].to_numpy(),
        np.unique(first["cluster"], return_inverse=True)[1],
        first["length"].to_numpy(),
    )


# The table of evaluations


def read_rows(path: Path | str) -> list[dict]:
    """Rows of evaluation.tsv, their numbers as numbers, and None where there is none."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(io.StringIO(file.read()), delimiter="\t"))
    words = ("run", "loss", "evaluation", "task", "measure", "group", "difference_unit")
    return [
        {name: value if name in words else float(value) if value else None for name, value in row.items()}
        for row in rows
    ]


def helped_section(rows: Sequence[Mapping], evaluations: Sequence[Evaluation]) -> dict:
    """The table of models by measures, and a chart of changes for each measure with lengths.

    Args:
        rows: of the table of evaluations.
        evaluations: their samples.
    """
    labels = {(one.name, one.measure.name): one.measure for one in evaluations}
    measures, models = {}, {}
    for row in _main_rows(rows):
        measure = labels[row["evaluation"], row["measure"]]
        key = f"{row['evaluation']}/{row['measure']}"
        better = "higher" if measure.higher_is_better else "lower"
        measures[key] = {"key": key, "label": f"{measure.label}, {row['evaluation']} ({better} is better)"}
        name = f"{row['run']}/{row['loss']}"
        model = models.setdefault(name, {"name": name, "seeds": None, "values": {}})
        if row["loss"] != BASE:
            model["seeds"] = int(row["seeds"])
        model["values"][key] = {
            "mean": row["mean"],
            "sd": _deviation_over_seeds(evaluations, row, name),
            "changes": {
                other: {"value": row[f"{other}_difference"], "text": _difference(row, other)}
                for other in COMPARED
                if row[f"{other}_difference"] is not None
            },
        }
    return {
        "measures": list(measures.values()),
        "compared": [{"name": other, "label": f"against {LABELS[other]}"} for other in COMPARED],
        "rows": list(models.values()),
        "changes": [chart for one in evaluations if (chart := _chart(one))],
        "note": "Means over samples, ± the standard deviation over seeds where there are several. Changes "
        "are paired sample by sample, with 95% intervals from a bootstrap over documents and seeds.",
    }


def _main_rows(rows: Sequence[Mapping]) -> list[Mapping]:
    """The row of each model and measure: of the area, where lengths are a grid, else of all samples."""
    found = {}
    for row in rows:
        if row["group"] in (ALL, AREA):
            # The area stands behind all samples.
            found[row["run"], row["loss"], row["evaluation"], row["measure"]] = row
    return list(found.values())


def _deviation_over_seeds(evaluations: Sequence[Evaluation], row: Mapping, name: str) -> float | None:
    for one in evaluations:
        samples = one.trained.get(name)
        if (one.name, one.measure.name) == (row["evaluation"], row["measure"]) and samples is not None:
            means_S = np.average(samples.value_SN, axis=1, weights=samples.weight_N)
            shown_S = np.exp(means_S) if one.measure.exponential else means_S
            return float(shown_S.std(ddof=1)) if len(shown_S) > 1 else None
    return None


def _difference(row: Mapping, other: str) -> str:
    value, low, high = (row[f"{other}_difference{part}"] for part in ("", "_low", "_high"))
    missing = float("nan")
    bounds = (missing, missing) if low is None or high is None else (low, high)
    return with_interval(value, *bounds, unit=row["difference_unit"], signed=True)


def _chart(one: Evaluation) -> dict | None:
    if one.measure.exponential or not one.trained:
        return None
    points = [
        {"model": name, **point}
        for name, samples in one.trained.items()
        for point in _by_length(one, samples)
    ]
    if not points:
        return None
    lengths = [point["x"] for point in points]
    return {
        "title": f"{one.measure.label}: change against the base model by tokens of context ({one.name})",
        "x_label": "tokens of context",
        "y_label": "change",
        "is_log": min(lengths) > 0 and max(lengths) / min(lengths) > 5000,
        "short_context": one.short_context,
        "points": points,
    }


def _by_length(one: Evaluation, trained: Samples) -> list[dict]:
    length_N = one.base.length_N
    lengths = np.unique(length_N[np.isfinite(length_N)])
    if len(lengths) < 2:
        return []
    points = []
    for part in np.array_split(lengths, min(len(lengths), _LENGTHS)):
        mask_N = np.isin(length_N, part)
        estimate = difference(
            trained.part(mask_N), one.base.part(mask_N), seed=one.seed, replicates=_REPLICATES
        )
        low, high = finite(estimate.low), finite(estimate.high)
        points.append(
            {
                "x": float(part[0]),
                "mean": estimate.value,
                "low": estimate.value if low is None else low,
                "high": estimate.value if high is None else high,
            }
        )
    return points


# The verdict


def verdict_section(paragraphs: Sequence[str], cards: Sequence[Mapping]) -> dict:
    """The verdict's first sentence as a heading, the rest below it, and the cards.

    Args:
        paragraphs: of verdict.txt, the first training's first evaluation before all others.
        cards: value, label and detail of each.
    """
    if not paragraphs:
        return {"sentence": None, "more": [], "others": [], "cards": list(cards)}
    sentence, _, rest = paragraphs[0].partition(". ")
    return {
        "sentence": sentence + "." * (not sentence.endswith(".")),
        "more": [rest] if rest else [],
        "others": list(paragraphs[1:]),
        "cards": list(cards),
    }


def measure_cards(rows: Sequence[Mapping], evaluations: Sequence[Evaluation]) -> list[dict]:
    """Cards of the first trained model: its first measure, and both sides of its short context."""
    trained = [row for row in _main_rows(rows) if row["loss"] != BASE]
    if not trained:
        return []
    row = trained[0]
    one = next(
        one for one in evaluations if (one.name, one.measure.name) == (row["evaluation"], row["measure"])
    )
    name = f"{row['run']}/{row['loss']}"
    base = next(
        other
        for other in _main_rows(rows)
        if other["loss"] == BASE and (other["evaluation"], other["measure"]) == (one.name, one.measure.name)
    )
    cards = [
        {
            "value": f"{base['mean']:.3f} → {row['mean']:.3f}",
            "label": f"{one.measure.label}: base → {name}",
            "detail": f"{_difference(row, BASE)}; {row['clusters']:.0f} documents, {row['seeds']:.0f} "
            f"seed{'s' * (row['seeds'] > 1)}",
        }
    ]
    if one.short_context is None:
        return cards
    sides = [
        next((other for other in rows if _is_same(other, row) and other["group"] == group), None)
        for group in context_groups(one.short_context)
    ]
    if None not in sides:
        near, far = sides
        sign = 1 if one.measure.higher_is_better else -1
        gains = [sign * side["base_difference"] for side in sides]
        more = "beyond it gained more" if gains[1] > gains[0] else "within it gained more"
        cards.append(
            {
                "value": f"{near['base_difference']:+.3f} | {far['base_difference']:+.3f}".replace("-", "−"),
                "label": f"change within | beyond the short context of {one.short_context:,} tokens",
                "detail": f"{more}: {_difference(near, BASE)} and {_difference(far, BASE)}",
            }
        )
    return cards


def _is_same(first: Mapping, second: Mapping) -> bool:
    return all(first[name] == second[name] for name in ("run", "loss", "evaluation", "measure"))
