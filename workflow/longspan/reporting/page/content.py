"""What the page shows, section by section, out of counts and small tables."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from longspan.reporting.page.counts import (
    GAIN_EDGES,
    NLL_EDGES,
    WEIGHT_EXPONENTS,
    merged,
    position_edges,
)
from longspan.reporting.page.shards import EXAMPLES
from longspan.store.tables import RowReader

CURVE_POINTS = 200
_TYPES_SHOWN = 40
_EXAMPLES_SHOWN = 6


# Funnel


def funnel_section(
    name: str,
    settings: Mapping,
    shards: Sequence[Mapping],
    held_out: Mapping,
    selections: Mapping[str, Mapping],
) -> dict:
    """Tokens of a windowing at each step, by category, and what was dropped by reason.

    Args:
        name: of the windowing.
        settings: its block of the page's settings.
        shards: counts of the texts of each shard.
        held_out: those of the held-out works.
        selections: counts of each selection over it.
    """
    texts = merged([shard["categories"] for shard in shards]) if shards else {}
    kept_out = {category: counts["tokens"] for category, counts in held_out["categories"].items()}
    size = settings["window_tokens"]
    kept_of = {
        selection: {entry["name"]: entry["kept"] for entry in counts["categories"]}
        for selection, counts in selections.items()
    }
    categories = []
    for category in dict.fromkeys([*texts, *kept_out]):
        counts = texts.get(category, {})
        windows = counts.get("windows", 0)
        categories.append(
            {
                "name": category,
                "sources": [
                    source["origin"] for source in settings["sources"] if source["category"] == category
                ],
                "documents": counts.get("documents", 0),
                "tokens": counts.get("tokens", 0),
                "held_out": kept_out.get(category, 0),
                "cut": counts.get("windows_cut", 0) * size,
                "drawn": windows * size,
                "kept": {selection: kept.get(category, 0) * size for selection, kept in kept_of.items()},
            }
        )
    reasons = merged([shard["reasons"] for shard in (*shards, held_out)])
    examples: dict[str, list] = {}
    for shard in (*shards, held_out):
        for reason, rows in shard["examples"].items():
            found = examples.setdefault(reason, [])
            # A few of each shard, so that one shard does not stand for all.
            found += rows[: EXAMPLES if len(found) < _EXAMPLES_SHOWN else 0]
    return {
        "windowing": name,
        "window_tokens": size,
        "categories": categories,
        "selections": list(kept_of),
        "reasons": [
            {"name": reason, **counts, "examples": examples[reason][:_EXAMPLES_SHOWN]}
            for reason, counts in sorted(reasons.items(), key=lambda item: -item[1]["documents"])
        ],
    }


# Selections


def overlaps(kept: Mapping[str, set[str]]) -> list[dict]:
    """How many windows each two selections keep both, of how many at least one keeps."""
    names = list(kept)
    return [
        {
            "a": first,
            "b": second,
            "both": len(kept[first] & kept[second]),
            "either": len(kept[first] | kept[second]),
            "kept": [len(kept[first]), len(kept[second])],
        }
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    ]


# Weights


def weights_section(store: str, settings: Mapping, shards: Sequence[Mapping]) -> dict:
    """Densities of NLL, gain and weights of a store, and its heaviest token types.

    Args:
        store: its scorer.
        settings: its block of the page's settings.
        shards: `nll_counts` of the shards.
    """
    total = merged(
        [
            shard | {"losses": {name: _without_types(loss) for name, loss in shard["losses"].items()}}
            for shard in shards
        ]
    )
    entries, windows = total["entries"], total["windows"]
    positions = position_edges(entries // windows)
    return {
        "store": store,
        "model": settings["model"],
        "short_context": settings["short_context"],
        "windows": windows,
        "tokens": entries,
        "short_mean": total["short_sum"] / entries,
        "long_mean": total["long_sum"] / entries,
        "hurt_share": total["hurt_entries"] / entries,
        "nll_edges": NLL_EDGES.tolist(),
        "short": total["short"],
        "long": total["long"],
        "gain_edges": GAIN_EDGES.tolist(),
        "gain": total["gain"],
        "positions": (positions[:-1] + 1).tolist(),
        "position_gain": _ratio(total["position_gain"], total["position_entries"]),
        "weight_exponents": WEIGHT_EXPONENTS.tolist(),
        "losses": {
            name: {
                "weights": loss["weights"],
                "position_weights": _ratio(loss["position_weights"], total["position_entries"]),
                "mean": loss["weight_sum"] / entries,
                "hurt_weight": loss["hurt_weight"] / loss["weight_sum"] if loss["weight_sum"] else 0.0,
                "effective": loss["effective"] / windows,
                "types": _types([shard["losses"][name]["types"] for shard in shards], loss["weight_sum"]),
            }
            for name, loss in total["losses"].items()
        },
    }


def _without_types(loss: Mapping) -> dict:
    return {name: value for name, value in loss.items() if name != "types"}


def _ratio(sums: Sequence[float], counts: Sequence[float]) -> list[float]:
    return (np.asarray(sums) / np.asarray(counts)).tolist()


def _types(shards: Sequence[Mapping[str, Mapping]], weight_sum: float) -> list[dict]:
    sums: dict[str, dict] = {}
    for shard in shards:
        for kind, row in shard.items():
            found = sums.setdefault(kind, {"text": row["text"], "count": 0.0, "weight": 0.0, "gain": 0.0})
            for name in ("count", "weight", "gain"):
                found[name] += row[name]
    largest = sorted(sums.values(), key=lambda row: -row["weight"])[:_TYPES_SHOWN]
    return [
        {
            "text": row["text"],
            "count": int(row["count"]),
            "share": row["weight"] / weight_sum,
            "weight": row["weight"] / row["count"],
            "gain": row["gain"] / row["count"],
        }
        for row in largest
    ]


# Trainings


def training_curve(folder: Path | str) -> dict:
    """Losses by update, at most `CURVE_POINTS` of them, and what the training ran at, if that was written."""
    columns = ["step", "loss_weighted", "loss_unweighted", "tokens_seen"]
    rows = RowReader(Path(folder, "metrics.parquet"), "training_metrics").read(columns).to_pydict()
    places = np.unique(
        np.linspace(0, len(rows["step"]) - 1, min(CURVE_POINTS, len(rows["step"]))).astype(int)
    )
    curve = {name: [values[place] for place in places] for name, values in rows.items()}
    return {
        "updates": len(rows["step"]),
        "tokens": rows["tokens_seen"][-1] if rows["step"] else 0,
        "curve": curve,
    }


# Costs


def cost_section(costs: Iterable[Mapping[str, str]], estimate: Iterable[Mapping[str, str]]) -> list[dict]:
    """Stages with what they took and, where an estimate was made, what was expected of them.

    Args:
        costs: rows of costs.tsv.
        estimate: rows of estimate.tsv; none if there is none.
    """
    expected: dict[str, dict[str, float]] = {}
    for row in estimate:
        found = expected.setdefault(
            row["stage"], {"jobs": 0.0, "tokens": 0.0, "gpu_hours": 0.0, "host_gb": 0.0}
        )
        for name in ("jobs", "tokens", "gpu_hours"):
            found[name] += _number(row[name]) or 0.0
        found["host_gb"] = max(found["host_gb"], _number(row["host_gb"]) or 0.0)
    rows = []
    for row in costs:
        planned = expected.get(row["rule"], {})
        wall = _number(row["wall_seconds"]) or 0.0
        tokens = planned.get("tokens") or None
        rows.append(
            {
                "stage": row["rule"],
                "jobs": _number(row["jobs"]),
                "wall_seconds": wall,
                "cpu_seconds": _number(row["cpu_seconds"]),
                "memory_gb": None if (memory := _number(row["largest_memory_mb"])) is None else memory / 1000,
                "expected_jobs": planned.get("jobs"),
                "expected_gpu_hours": planned.get("gpu_hours"),
                "expected_memory_gb": planned.get("host_gb"),
                "tokens": tokens,
                "tokens_per_second": tokens / wall if tokens and wall else None,
            }
        )
    return rows


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
