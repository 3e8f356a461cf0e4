"""The data of the whole page, out of the tables that its settings name."""

import csv
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from longspan.reporting.page.aggregates import read_aggregate
from longspan.reporting.page.content import (
    cost_section,
    funnel_section,
    overlaps,
    training_curve,
    weights_section,
)
from longspan.reporting.page.evaluations import (
    helped_section,
    measure_cards,
    read_evaluations,
    read_rows,
    verdict_section,
)
from longspan.reporting.page.windows import WindowingReader, candidates, within_budget
from longspan.store.shards import HELD_OUT, shard_files
from longspan.store.tables import read_table
from longspan.store.versions import __version__
from longspan.weighting.variant import loss_of_settings

_PACKAGES = ("numpy", "pandas", "pyarrow", "snakemake", "tokenizers", "torch", "transformers")
_KEPT_CANDIDATES = 400


def page_data(settings: Mapping, files: Mapping[str, Path]) -> dict:
    """What the page shows.

    Args:
        settings: names, and the tables that each is in.
        files: record of the settings, tables of summary, funnel and costs and, where models were trained,
            evaluation, markdown and verdict, by these names.

    Raises:
        ValueError: a table that is missing or damaged.
    """
    blocks = {block["name"]: block for block in settings["selections"]}
    selections = {
        name: read_aggregate(block["aggregate"], "aggregate_selection")["counts"]
        for name, block in blocks.items()
    }
    kept = {name: _kept(block["table"]) for name, block in blocks.items()}
    readers = {name: WindowingReader(block) for name, block in settings["windowings"].items()}
    shards = {name: _shards(block) for name, block in settings["windowings"].items()}
    held_out = {
        name: read_aggregate(Path(block["aggregates"], f"{HELD_OUT}.json"), "aggregate_shard")["counts"]
        for name, block in settings["windowings"].items()
    }
    of_windowing = {
        name: [selection for selection, block in blocks.items() if block["windowing"] == name]
        for name in settings["windowings"]
    }
    evaluations = read_evaluations(settings["comparison"])
    rows = read_rows(files["evaluation"]) if "evaluation" in files else []
    paragraphs = _text(files["verdict"]).splitlines() if "verdict" in files else []
    weights = _weights(settings["windowings"], shards)
    return {
        "title": settings["title"],
        "verdict": verdict_section(
            paragraphs,
            [*measure_cards(rows, evaluations), *_kept_cards(selections, blocks), *_gain_cards(weights)][:4],
        ),
        "helped": helped_section(rows, evaluations) if rows else None,
        "trainings": {name: training_curve(folder) for name, folder in settings["trainings"].items()},
        "funnel": [
            funnel_section(
                name,
                block,
                [shard["texts"] for shard in shards[name]],
                held_out[name]["texts"],
                {selection: selections[selection] for selection in of_windowing[name]},
            )
            for name, block in settings["windowings"].items()
        ],
        "selections": [_selection(counts, blocks[name], readers) for name, counts in selections.items()],
        "overlaps": [
            pair
            for names in of_windowing.values()
            for pair in overlaps({name: set(kept[name]) for name in names})
        ],
        "weights": weights,
        "reader": _reader(settings, selections, kept, readers, of_windowing),
        "costs": cost_section(_rows(files["costs"]), _rows(Path(settings["estimate"]))),
        "how": {
            "changed": settings["changed"],
            "licenses": settings["licenses"],
            "versions": _versions(),
            "commands": _commands(files["record"], kept),
        },
        "downloads": _downloads(files),
    }


def _kept(path: str) -> list[str]:
    rows = read_table(path, "selection", ["data_id", "rank", "kept"])[0].to_pandas()
    return rows[rows["kept"]].sort_values("rank")["data_id"].tolist()


def _shards(block: Mapping) -> list[dict]:
    files = shard_files(Path(block["aggregates"]), block["shards"]).values()
    return [read_aggregate(path.with_suffix(".json"), "aggregate_shard")["counts"] for path in files]


def _selection(counts: Mapping, block: Mapping, readers: Mapping[str, WindowingReader]) -> dict:
    reader = readers[block["windowing"]]
    rows = [row | reader.describe(row["data_id"]) for row in counts["rows"]]
    about = {name: block[name] for name in ("name", "windowing", "runs", "exports", "keep", "method")}
    return {**counts, "rows": rows, **about}


def _weights(windowings: Mapping[str, Mapping], shards: Mapping[str, list[dict]]) -> list[dict]:
    found = []
    for name, block in windowings.items():
        for store, about in block["stores"].items():
            parts = [shard["stores"][store] for shard in shards[name] if store in shard["stores"]]
            if parts:
                found.append({"windowing": name, **weights_section(store, about, parts)})
    return found


def _kept_cards(selections: Mapping[str, Mapping], blocks: Mapping[str, Mapping]) -> list[dict]:
    """Windows that the first selection keeps which something uses."""
    for name, counts in selections.items():
        if blocks[name]["runs"] or blocks[name]["exports"]:
            share = counts["kept"] / counts["windows"]
            value = f"{counts['kept']:,} of {counts['windows']:,}"
            return [
                {
                    "value": value,
                    "label": f"windows kept by {name}",
                    "detail": f"{share:.1%}, by {counts['label']}",
                }
            ]
    return []


def _gain_cards(weights: list[dict]) -> list[dict]:
    """Mean gain of the long context on the windows of the first store."""
    for store in weights:
        short, long = store["short_mean"], store["long_mean"]
        return [
            {
                "value": f"{short - long:+.3f} nats".replace("-", "−"),
                "label": f"mean gain of the long context on {store['windows']:,} scored windows",
                "detail": f"{short:.3f} short, {long:.3f} long",
            }
        ]
    return []


def _reader(
    settings: Mapping,
    selections: Mapping[str, Mapping],
    kept: Mapping[str, list[str]],
    readers: Mapping[str, WindowingReader],
    of_windowing: Mapping[str, list[str]],
) -> dict:
    losses = {entry["name"]: entry for entry in settings["losses"]}
    variants = {name: loss_of_settings(entry["block"]) for name, entry in losses.items()}
    is_used = {block["name"]: bool(block["runs"] or block["exports"]) for block in settings["selections"]}

    def packed():
        for name, block in settings["windowings"].items():
            by_store = {
                store: {
                    loss: part for loss, part in variants.items() if losses[loss]["scorer"] in (store, None)
                }
                for store in block["stores"]
            }
            # Those of runs and exports come first.
            own = sorted(of_windowing[name], key=lambda one: not is_used[one])
            ids = candidates(
                {one: selections[one] for one in own}, {one: kept[one][:_KEPT_CANDIDATES] for one in own}
            )
            for data_id in ids if own else readers[name].shard("00000").data_ids:
                yield {"windowing": name, **readers[name].pack(data_id, by_store)}

    windows = within_budget(packed())
    kept_ids = {name: set(ids) for name, ids in kept.items()}
    for window in windows:
        names = of_windowing[window["windowing"]]
        window["kept_by"] = [name for name in names if window["id"] in kept_ids[name]]
    return {
        "windows": windows,
        "losses": {name: {key: entry[key] for key in ("label", "is_used")} for name, entry in losses.items()},
    }


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _versions() -> dict[str, str]:
    found = {"longspan": __version__, "Python": platform.python_version()}
    if commit := _commit():
        found["commit"] = commit
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of a checkout that this file belongs to; None if there is none."""
    folder = Path(__file__).parent
    try:
        for command in (["ls-files", "--error-unmatch", Path(__file__).name], ["rev-parse", "HEAD"]):
            found = subprocess.run(
                ["git", "-C", folder, *command], capture_output=True, text=True, check=True, timeout=20
            ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return found.strip()


def _commands(record: Path, kept: Mapping[str, list[str]]) -> list[str]:
    """What to type to make all of this again, and to ask more of it."""
    ids = [data_id for ids in kept.values() for data_id in ids][:1]
    return [
        f"snakemake --cores 2 --configfile={record} all",
        *(f"longspan explain {data_id} --configfile {record}" for data_id in ids),
    ]


def _downloads(files: Mapping[str, Path]) -> dict[str, str]:
    tables = {f"{name}.tsv": _text(files[name]) for name in ("summary", "funnel", "costs")}
    if "evaluation" in files:
        tables |= {"evaluation.tsv": _text(files["evaluation"]), "verdict.txt": _text(files["verdict"])}
        tables["evaluation.md"] = _text(files["markdown"])
    return {
        **tables,
        "summary.md": _markdown(_rows(files["summary"])),
        "settings.yaml": _text(files["record"]),
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _markdown(rows: list[dict[str, str]]) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
