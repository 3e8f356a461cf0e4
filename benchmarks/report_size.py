"""Size of the report, and the time to build and to open it, at the largest scale that is advertised.

    python benchmarks/report_size.py [--windows 1000000] [--shards 200] [--runs 18] [--tokens 2048]

The counts of shards and the tables of evaluations are fabricated; everything from there on is the report's
own code. The windows to read are random words in a real shard with a real store, of which as many are packed
as fit. Where playwright and a Chromium are installed, the page is opened, and a window is read.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from longspan.evaluation.statistics import Samples
from longspan.evaluation.tasks.position_nll import PositionNLL
from longspan.process.peak_memory import peak_memory_bytes
from longspan.reporting.page import content, counts, evaluations
from longspan.reporting.page.document import render_page
from longspan.reporting.page.selections import selection_counts
from longspan.reporting.page.windows import WindowingReader, within_budget
from longspan.scoring.store import ScoreWriter
from longspan.selection.methods.longattn import LongAttn, lds_scores
from longspan.selection.table import selection_table
from longspan.store.tables import read_table, write_table
from longspan.weighting.variant import loss_of_settings
from longspan.windows.assignment import tokens_digest
from longspan.windows.store import WindowStore

LOSSES = ("dense", "longce", "npmi", "plain", "ppmi")


def selection(windows: int, shards: int, draw: np.random.Generator) -> pd.DataFrame:
    """A selection of so many windows by LongAttn, with its two numbers."""
    numbers = {"strength": draw.beta(8, 24, windows), "variance_block": draw.gamma(4.0, 5e-8, windows)}
    category = draw.choice(["web", "books", "code", "papers"], windows, p=[0.5, 0.2, 0.2, 0.1])
    ids = [f"large-{number % shards:05d}_{number // shards:07d}" for number in range(windows)]
    score = lds_scores(*numbers.values(), category=category)
    table = selection_table(ids, score, keep={"ratio": 0.125}, category=category)
    return table.assign(**numbers)


def shard_of_counts(windows: int, tokens: int, draw: np.random.Generator) -> dict:
    """Counts of a shard as `aggregate_shard` gives them, from a few random windows that stand for all."""
    long_BN = draw.gamma(1.0, 2.0, (8, tokens - 1))
    gain_BN = draw.normal(0.05, 0.4, long_BN.shape)
    weights_BN = np.exp(draw.normal(0, 0.5, long_BN.shape))
    times = windows / 8

    def many(values):
        return (np.asarray(values) * times).astype(int).tolist()

    loss = {
        "weights": many(counts.weight_histogram(weights_BN)),
        "position_weights": (counts.position_sums(weights_BN) * times).tolist(),
        "weight_sum": float(weights_BN.sum() * times),
        "hurt_weight": float(weights_BN[gain_BN < 0].sum() * times),
        "effective": 0.8 * windows,
        "types": {
            str(kind): {"text": f"word{kind}", "count": 100.0, "weight": float(900 - kind), "gain": 3.0}
            for kind in draw.choice(800, counts.TYPES_KEPT, replace=False)
        },
    }
    return {
        "windows": windows,
        "entries": windows * (tokens - 1),
        "short": many(counts.histogram(long_BN + gain_BN, counts.NLL_EDGES)),
        "long": many(counts.histogram(long_BN, counts.NLL_EDGES)),
        "gain": many(counts.histogram(gain_BN, counts.GAIN_EDGES)),
        "short_sum": float((long_BN + gain_BN).sum() * times),
        "long_sum": float(long_BN.sum() * times),
        "position_entries": (counts.position_sums(np.ones_like(long_BN)) * times).tolist(),
        "position_gain": (counts.position_sums(gain_BN) * times).tolist(),
        "hurt_entries": int((gain_BN < 0).sum() * times),
        "losses": dict.fromkeys(LOSSES, loss),
    }


def texts_of_counts(windows: int, tokens: int) -> dict:
    """Counts of a shard's texts."""
    category = {
        "documents": windows // 8,
        "tokens": windows * tokens // 3,
        "characters": windows * tokens,
        "windows_cut": windows // 3,
        "windows": windows // 4,
    }
    example = {"document_id": "d", "category": "web", "title": "a title " * 4, "detail": "why " * 8}
    reasons = ("duplicate", "overlap", "too short", "unprintable", "repeated lines")
    return {
        "categories": dict.fromkeys(("web", "books", "code", "papers"), category),
        "reasons": {reason: {"documents": 7, "characters": 900} for reason in reasons},
        "examples": {reason: [example] * 3 for reason in reasons},
    }


def measured(runs: int, draw: np.random.Generator) -> tuple[list[dict], list[evaluations.Evaluation]]:
    """Rows of the table of evaluations and their samples: so many runs of three seeds each."""
    clusters, positions = 60, 8
    length_N = np.tile(np.linspace(1, 1793, positions), clusters)
    cluster_N = np.repeat(np.arange(clusters), positions)
    base = draw.normal(3, 0.4, (1, clusters * positions))
    weight_N = np.full(clusters * positions, 256.0)
    measure = PositionNLL.measures[0]

    def samples(value_SN):
        return Samples(value_SN, weight_N, cluster_N, length_N)

    trained = {
        f"run-{number:02d}/dense": samples(base - 0.01 * number + draw.normal(0, 0.05, (3, base.size)))
        for number in range(runs)
    }
    one = evaluations.Evaluation("position_nll", measure, samples(base), trained, 512, 0)
    rows = [
        {
            "run": name.partition("/")[0],
            "loss": loss,
            "evaluation": "position_nll",
            "task": "position_nll",
            "measure": measure.name,
            "group": "all",
            "samples": 480.0,
            "clusters": 60.0,
            "seeds": 3.0,
            "mean": float(found.value_SN.mean()),
            "difference_unit": "",
            **{
                f"{other}_difference{part}": -0.1 if loss == "dense" else None
                for other in ("base", "plain", "shuffled", "random_windows")
                for part in ("", "_low", "_high")
            },
        }
        for name, found in trained.items()
        for loss in ("base", "dense")
    ]
    return rows, [one]


def write_shard(folder: Path, windows: int, tokens: int, draw: np.random.Generator) -> dict:
    """Tables of a shard of random words, and the block of settings that names them."""
    words = np.array(["".join(draw.choice(list("etaoinshrdlu"), n)) for n in draw.integers(1, 9, 3000)])
    ids = draw.zipf(1.3, windows * tokens).clip(0, 2999).astype(np.int32)
    pieces = np.char.add(" ", words[ids])
    text, lengths = "".join(pieces), np.char.str_len(pieces)
    paths = {kind: folder / kind / "00000.parquet" for kind in ("documents", "tokens", "windows", "scores")}
    names = {"document_id": "d", "source": "s", "category": "web", "license": "l", "title": "random words"}
    write_table(paths["documents"], "documents", [names | {"text": text}], settings={})
    documents = read_table(paths["documents"], "documents", ["title"])[1].data_digest
    row = {"document_id": "d", "input_ids": ids, "split_positions": []}
    row["char_deltas"] = np.append(0, lengths)
    write_table(paths["tokens"], "tokens", [row], settings={}, inputs={"documents": documents}, tokenizer="t")
    ends = np.append(0, np.cumsum(lengths))
    rows = [
        {
            "data_id": f"large-00000_{number:07d}",
            "document_id": "d",
            "category": "web",
            "token_start": number * tokens,
            "token_stop": (number + 1) * tokens,
            "char_start": int(ends[number * tokens]),
            "char_stop": int(ends[(number + 1) * tokens]),
            "tokens_digest": tokens_digest(ids[number * tokens : (number + 1) * tokens]),
        }
        for number in range(windows)
    ]
    inputs = {
        "documents": documents,
        "tokens": read_table(paths["tokens"], "tokens", ["document_id"])[1].data_digest,
    }
    geometry = {"corpus": "large", "window_tokens": tokens, "policy": "stride", "bos_token_id": None}
    settings = geometry | {"sampling": {}, "seed": None}
    write_table(paths["windows"], "windows", rows, settings=settings, inputs=inputs, tokenizer="t")
    store = WindowStore({"00000": (paths["tokens"], paths["windows"])})
    with ScoreWriter(paths["scores"], "nll_scores", store, settings={}, inputs={}, stage_version=1) as writer:
        for row in rows:
            long_N = draw.gamma(1.0, 2.0, tokens - 1)
            short_N = np.maximum(0, long_N + draw.normal(0.05, 0.4, tokens - 1))
            nll = {"short_nll": short_N.astype(np.float16), "long_nll": long_N.astype(np.float16)}
            writer.append([{"data_id": row["data_id"], **nll}])
        writer.finish()
    blocks = {kind: str(folder / kind) for kind in ("documents", "tokens", "windows")}
    return blocks | {"stores": {"short": {"folder": str(folder / "scores"), "losses": list(LOSSES)}}}


def page_of(options: argparse.Namespace, folder: Path) -> str:
    """The page, with the seconds of each step printed."""
    draw, start = np.random.default_rng(0), time.perf_counter()

    def tell(step):
        nonlocal start
        now = time.perf_counter()
        memory = peak_memory_bytes() / 1e9
        print(f"{step:45} {now - start:7.1f} s, peak memory so far {memory:.2f} GB", flush=True)
        start = time.perf_counter()

    tables = {f"selection-{number}": selection(options.windows, options.shards, draw) for number in range(2)}
    tell("fabricating two selections")
    block = write_shard(folder, options.shown, options.tokens, draw)
    tell("fabricating a shard of texts and scores")
    axes = LongAttn().axes
    found = {name: selection_counts(table, axes, LongAttn.label) for name, table in tables.items()}
    tell("counting them (aggregate_selection)")
    share = options.windows // options.shards
    shards = [shard_of_counts(share, options.tokens, draw) for _ in range(options.shards)]
    texts = [texts_of_counts(share, options.tokens) for _ in range(options.shards)]
    tell("fabricating counts of shards")
    rows, samples = measured(options.runs, draw)
    sources = [{"category": "web", "origin": "somewhere"}]
    about = {"window_tokens": options.tokens, "sources": sources, "model": "m", "short_context": 512}
    reader = WindowingReader(block)
    losses = {"short": {name: loss_of_settings({"variant": name}) for name in LOSSES}}
    windows = within_budget(
        {"windowing": "w", "kept_by": [], **reader.pack(data_id, losses)}
        for data_id in reader.shard("00000").data_ids
    )
    tell(f"packing {len(windows)} windows of {options.tokens} tokens")
    curve = {name: np.linspace(3, 2, 200).tolist() for name in ("loss_weighted", "loss_unweighted")}
    curve |= {"step": list(range(200)), "tokens_seen": list(range(200))}
    kept = {name: set(table["data_id"][table["kept"]]) for name, table in tables.items()}
    more = {"windowing": "w", "runs": [], "exports": [], "keep": {"ratio": 0.125}, "method": "longattn"}
    data = {
        "title": "a fabricated report",
        "verdict": evaluations.verdict_section(["run-00/dense: helped. All of it is fabricated."], []),
        "helped": evaluations.helped_section(rows, samples),
        "trainings": {
            f"run-{run:02d}/dense/seed{seed}": {"updates": 200, "tokens": 1, "curve": curve}
            for run in range(options.runs)
            for seed in range(3)
        },
        "funnel": [content.funnel_section("w", about, texts, texts[0], found)],
        "selections": [
            {
                **one,
                "name": name,
                "rows": [row | {"title": "a title", "begins": "so it begins " * 8} for row in one["rows"]],
                **more,
            }
            for name, one in found.items()
        ],
        "overlaps": content.overlaps(kept),
        "weights": [{"windowing": "w", **content.weights_section("short", about, shards)}],
        "reader": {
            "windows": windows,
            "losses": {name: {"label": name, "is_used": name == "dense"} for name in LOSSES},
        },
        "how": {"changed": "", "licenses": [], "versions": {}, "commands": []},
    }
    page = render_page("a fabricated report", data)
    tell("joining counts and writing the page (build_report)")
    return page


def open_in_browser(page: Path) -> None:
    """Print what a reader waits for, if there is a browser."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        print("no playwright or no Chromium: the page is not opened")
        return
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab, start = chromium.new_page(), time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready=yes]", state="attached")
        tab.wait_for_selector("#window-text .t")
        print(f"opening the page: {time.perf_counter() - start:.2f} s")
        ids = tab.locator("#window-choice option").evaluate_all("nodes => nodes.map(node => node.value)")
        start = time.perf_counter()
        tab.select_option("#window-choice", ids[-1])
        tab.wait_for_selector(f'#reader dl.facts .id:text-is("{ids[-1]}")')
        print(f"choosing a window: {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        tab.select_option("#loss-choice", "longce")
        tab.evaluate("1")
        print(f"another loss: {time.perf_counter() - start:.2f} s")
        chromium.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("windows", 10**6),
        ("shards", 200),
        ("runs", 18),
        ("tokens", 2048),
        ("shown", 300),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--page", type=Path, help="keep the page here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = page_of(options, Path(folder))
        path = options.page or Path(folder, "report.html")
        path.write_text(page, encoding="utf-8")
        print(f"{options.windows:,} windows, {options.runs} runs: {len(page.encode()) / 1e6:.2f} MB")
        open_in_browser(path.resolve())


if __name__ == "__main__":
    main()
