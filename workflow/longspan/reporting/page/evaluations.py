"""Did it help: what the evaluations measured of base and trained models, and their paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from longspan.evaluation.statistics import Estimate, Samples, difference
from longspan.evaluation.task import EVALUATION_TASKS, Measure
from longspan.plugins.options import own_options
from longspan.reporting.page.document import finite
from longspan.store.tables import read_table

_REPLICATES = 2000
_SEED = 0
_LENGTHS = 64  # points of a curve; more are taken together


@dataclass(frozen=True)
class Measured:
    """One measure of one evaluation: a base model, and the trained ones by loss.

    Attributes:
        run: the run.
        evaluation: its name.
        measure: the measure.
        base: samples of the base model.
        trained: samples by loss, a row for each seed.
        short_context: tokens of the short context, if the run has one.
    """

    run: str
    evaluation: str
    measure: Measure
    base: Samples
    trained: dict[str, Samples]
    short_context: int | None


def measured(entry: Mapping, short_context: int | None) -> list[Measured]:
    """All measures of an evaluation of a run.

    Args:
        entry: block of the page's settings: names and tables.
        short_context: as in `Measured`.

    Raises:
        ValueError: a table that is missing or damaged, or holds no values of its task.
    """
    kind = EVALUATION_TASKS[entry["task"]]
    values: dict[str, pd.DataFrame] = {}
    for name, path in {"base": entry["base"], **entry["trained"]}.items():
        table, manifest = read_table(path, kind.table)
        task = kind(**own_options(kind, manifest.settings))
        values[name] = task.checked_values(table.to_pandas(), path)
    losses: dict[str, list[str]] = {}
    for name in entry["trained"]:
        losses.setdefault(name.rpartition("/")[0], []).append(name)
    return [
        Measured(
            entry["run"],
            entry["evaluation"],
            measure,
            _samples([values["base"].loc[measure.name]]),
            {
                loss: _samples([values[name].loc[measure.name] for name in names])
                for loss, names in losses.items()
            },
            short_context,
        )
        for measure in kind.measures
        if measure.name in values["base"].index
    ]


def _samples(seeds: Sequence[pd.DataFrame]) -> Samples:
    first = seeds[0]
    if any(not first.index.equals(other.index) for other in seeds[1:]):
        raise ValueError(
            "seeds of one loss were measured on different samples; delete their tables and rerun"
        )
    return Samples(
        np.stack([values["value"].to_numpy() for values in seeds]),
        first["weight"].to_numpy(),
        np.unique(first["cluster"], return_inverse=True)[1],
        first["length"].to_numpy(),
    )


def helped_section(found: Sequence[Measured]) -> dict:
    """The table of models by measures, and the paired changes by position or length."""
    measures, rows = {}, {}
    for one in found:
        key = f"{one.evaluation}/{one.measure.name}"
        arrow = "higher is better" if one.measure.higher_is_better else "lower is better"
        measures[key] = {"key": key, "label": f"{one.measure.label}, {one.evaluation} ({arrow})"}
        for loss, samples in {"base": one.base, **one.trained}.items():
            row = rows.setdefault(
                (one.run, loss), {"name": f"{one.run}/{loss}", "seeds": len(samples.value_SN), "values": {}}
            )
            if loss == "base":
                row["seeds"] = None
            change = None if loss == "base" else _change(one, samples)
            row["values"][key] = {**_mean_and_sd(one.measure, samples), "change": change}
    return {
        "measures": list(measures.values()),
        "rows": list(rows.values()),
        "changes": [change for change in _curves(found) if change["points"]],
        "note": "Means over samples, ± the standard deviation over seeds where there are several. Below: the "
        "change against the base model, paired sample by sample, with its 95% interval from a bootstrap over "
        "documents and seeds.",
    }


def _mean_and_sd(measure: Measure, samples: Samples) -> dict:
    means_S = np.average(samples.value_SN, axis=1, weights=samples.weight_N)
    shown_S = np.exp(means_S) if measure.exponential else means_S
    center = float(np.exp(means_S.mean()) if measure.exponential else means_S.mean())
    return {"mean": center, "sd": float(shown_S.std(ddof=1)) if len(shown_S) > 1 else None}


def _change(one: Measured, samples: Samples) -> str:
    estimate = difference(samples, one.base, seed=_SEED, replicates=_REPLICATES)
    if one.measure.exponential:
        estimate = _exponential(estimate)
        return f"×{estimate.value:.4f}{_interval(estimate, '.4f')}"
    return f"{_signed(estimate.value)}{_interval(estimate, '+.4f')}"


def _exponential(estimate: Estimate) -> Estimate:
    parts = (math.exp(part) for part in (estimate.value, estimate.low, estimate.high))
    return Estimate(*parts, estimate.p, estimate.samples, estimate.clusters, estimate.seeds)


def _interval(estimate: Estimate, form: str) -> str:
    if math.isnan(estimate.low):
        return ", no interval (one document)"
    return f" [{estimate.low:{form}}, {estimate.high:{form}}]".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _curves(found: Sequence[Measured]) -> list[dict]:
    """A chart for each measure with lengths: the change by length, a line for each trained model."""
    charts: dict[str, dict] = {}
    for one in found:
        if one.measure.exponential or not np.isfinite(one.base.length_N).any():
            continue
        chart = charts.setdefault(
            f"{one.evaluation}/{one.measure.name}",
            {
                "title": f"{one.measure.label}: change against the base model by position ({one.evaluation})",
                "x_label": "tokens of context",
                "y_label": one.measure.label,
                "is_log": False,
                "short_context": one.short_context,
                "points": [],
            },
        )
        for loss, samples in one.trained.items():
            chart["points"] += [
                {"model": f"{one.run}/{loss}", **point} for point in _by_length(one.base, samples)
            ]
    for chart in charts.values():
        lengths = [point["x"] for point in chart["points"]]
        chart["is_log"] = bool(lengths) and min(lengths) > 0 and max(lengths) / min(lengths) > 5000
    return list(charts.values())


def _by_length(base: Samples, trained: Samples) -> list[dict]:
    lengths = np.unique(base.length_N[np.isfinite(base.length_N)])
    if len(lengths) < 2:
        return []
    points = []
    for part in np.array_split(lengths, min(len(lengths), _LENGTHS)):
        mask_N = np.isin(base.length_N, part)
        estimate = difference(trained.part(mask_N), base.part(mask_N), seed=_SEED, replicates=_REPLICATES)
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


def verdict_cards(found: Sequence[Measured]) -> list[dict]:
    """Cards of the first trained model: its first measure, and both sides of the short context."""
    for one in found:
        for loss, samples in one.trained.items():
            return [_measure_card(one, loss, samples), *_range_card(one, samples)]
    return []


def _measure_card(one: Measured, loss: str, samples: Samples) -> dict:
    change = difference(samples, one.base, seed=_SEED, replicates=_REPLICATES)
    base = float(np.average(one.base.value_SN[0], weights=one.base.weight_N))
    return {
        "value": f"{base:.3f} → {base + change.value:.3f}",
        "label": f"{one.measure.label}: base → {one.run}/{loss}",
        "detail": f"{_signed(change.value)}{_interval(change, '+.4f')}; {change.clusters} documents, "
        f"{change.seeds} seed{'s' * (change.seeds > 1)}",
    }


def _range_card(one: Measured, samples: Samples) -> list[dict]:
    if one.short_context is None:
        return []
    # A part of a window that begins within the short context belongs to it.
    within_N = one.base.length_N < one.short_context
    if not (within_N.any() and (one.base.length_N >= one.short_context).any()):
        return []
    near, far = (
        difference(samples.part(mask_N), one.base.part(mask_N), seed=_SEED, replicates=_REPLICATES)
        for mask_N in (within_N, one.base.length_N >= one.short_context)
    )
    sign = 1 if one.measure.higher_is_better else -1
    more = "beyond it gained more" if sign * far.value > sign * near.value else "within it gained more"
    return [
        {
            "value": f"{near.value:+.3f} | {far.value:+.3f}".replace("-", "−"),
            "label": f"change within | beyond the short context of {one.short_context:,} tokens",
            "detail": f"{more};{_interval(near, '+.3f')} and{_interval(far, '+.3f')}",
        }
    ]
