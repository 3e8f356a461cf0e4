"""A cascade over the tiny chain: a stage scores what the one before kept, the last tells of all windows."""

import copy
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from longspan.selection.methods.gzip import compressibility
from longspan.selection.methods.longattn import lds_scores
from longspan.store.tables import open_table, read_table
from longspan.windows.shard import Shard
from longspan_workflow.commands.explanations import explain
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring
from refusals import refused
from tiny_chain import ROOT, TINY, Chain

SHARDS = ("00000", "00001")
STAGES = ("funnel.stage1", "funnel.stage2", "funnel")


def cascading(**keeps) -> dict:
    """The tiny settings with a cascade in place of their selection; `keeps` by the stages' methods."""
    settings = copy.deepcopy(TINY)
    stages = [
        {"method": "gzip", "keep": {"windows": 11}},
        {"method": "longattn", "scorer": "tiny-layer0", "keep": {"ratio": 0.5}},
        {"method": "nll_gain", "scorer": "tiny-32", "keep": {"per_category": {
            "prose": {"windows": 1}, "rows": {"tokens": 300}
        }}},
    ]  # fmt: skip
    for stage in stages:
        stage["keep"] = keeps.get(stage["method"], stage["keep"])
    settings["selections"] = {
        "funnel": {"windowing": "short-128", "stages": stages},
        "drawn": settings["selections"]["drawn"],
    }
    settings["runs"]["main"] |= {"selection": "funnel", "select_first": True}
    settings["exports"]["kept"]["selection"] = "funnel"
    return settings


def run_cascade(chain: Chain) -> None:
    """All jobs of the cascade, in the order of the DAG."""
    for selection, scoring in zip(STAGES, ("score_attention", "score_short", None), strict=True):
        chain.make("select_windows", selection=selection)
        chain.make("list_kept_windows", selection=selection)
        for shard in SHARDS if scoring else ():
            chain.make(scoring, shard=shard)


@pytest.fixture
def whole(chain) -> dict[str, pd.DataFrame]:
    """Scores of all windows, which other settings made."""
    read = {}
    for name, scorer, kind in (
        ("attention", "tiny-layer0", "attention_scores"),
        ("nll", "tiny-32", "nll_scores"),
    ):
        paths = [chain.path("scores", scorer=scorer, shard=shard) for shard in SHARDS]
        read[name] = pd.concat([read_table(path, kind)[0].to_pandas() for path in paths]).set_index("data_id")
        for path in paths:
            path.unlink()
    return read


def selection(chain, name) -> pd.DataFrame:
    return read_table(chain.path("selection", selection=name), "selection")[0].to_pandas()


def scored(chain, scorer, kind) -> list[str]:
    paths = [chain.path("scores", scorer=scorer, shard=shard) for shard in SHARDS]
    return [row["data_id"] for path in paths for row in read_table(path, kind)[0].to_pylist()]


def windows(chain) -> pd.DataFrame:
    """Id, category and text of each window."""
    parts = []
    for shard in SHARDS:
        part = Shard(
            shard, chain.path("windows", shard=shard), documents=chain.path("documents", shard=shard)
        )
        columns = {"data_id": part.data_ids, "category": part.column("category"), "text": list(part.texts())}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def best(table, count):
    return table.sort_values(["score", "data_id"], ascending=[False, True]).head(count)


def by_hand(chain, whole) -> list[pd.DataFrame]:
    """What each stage keeps, out of scores of all windows."""
    table = windows(chain)
    first = best(table.assign(score=compressibility(table["text"])), 11)
    # The order of windows, as tables hold it, is that of sums of floats.
    left = table[table["data_id"].isin(first["data_id"])]
    of_window = whole["attention"].loc[left["data_id"]]
    lds = lds_scores(of_window["strength"], of_window["variance_block"], alpha=0.5, category=left["category"])
    groups = left.assign(score=lds).groupby("category")
    second = pd.concat([best(group, int(0.5 * len(group))) for _, group in groups])
    left = table[table["data_id"].isin(second["data_id"])]
    of_window = whole["nll"].loc[left["data_id"]]
    gains = [
        np.mean(short.astype(np.float64) - long.astype(np.float64))
        for short, long in zip(of_window["short_nll"], of_window["long_nll"], strict=True)
    ]
    groups = left.assign(score=gains).groupby("category")
    third = pd.concat([best(group, {"prose": 1, "rows": 300 // 128}[name]) for name, group in groups])
    return [first, second, third]


@pytest.mark.filterwarnings("error::FutureWarning")
def test_each_stage_scores_what_the_one_before_kept_and_keeps_what_a_filter_by_hand_keeps(chain, whole):
    cascade = Chain(cascading())
    run_cascade(cascade)
    expected = by_hand(chain, whole)
    assert 0 < len(expected[2]) < len(expected[1]) < len(expected[0]) < len(windows(chain))
    before = windows(chain)["data_id"].tolist()
    tables = [selection(cascade, name) for name in STAGES]
    for number, (table, kept) in enumerate(zip(tables, expected, strict=True), 1):
        assert table["data_id"].tolist() == windows(chain)["data_id"].tolist()
        assert sorted(table["data_id"][table["kept"]]) == sorted(kept["data_id"])
        listed = read_table(cascade.path("kept", selection=STAGES[number - 1]), "kept_windows")[0]
        assert listed.column("data_id").to_pylist() == table["data_id"][table["kept"]].tolist()
        # Without a score is who was not looked at, and nobody else.
        assert sorted(table["data_id"][table["score"].notna()]) == sorted(before)
        found = table.set_index("data_id").loc[kept["data_id"]]
        np.testing.assert_allclose(found["score"], kept["score"], rtol=1e-12)
        assert sorted(table["rank"]) == list(range(1, len(table) + 1))
        before = kept["data_id"].tolist()
    for scorer, kind, kept in (
        ("tiny-layer0", "attention_scores", expected[0]),
        ("tiny-32", "nll_scores", expected[1]),
    ):
        assert sorted(scored(cascade, scorer, kind)) == sorted(kept["data_id"])


def test_the_last_table_tells_of_each_window_in_which_stage_it_was_dropped(chain, whole):
    cascade = Chain(cascading())
    run_cascade(cascade)
    first, second, last = (selection(cascade, name).set_index("data_id") for name in STAGES)
    for data_id, row in last.iterrows():
        stage, method = (3, "nll_gain") if second["kept"][data_id] else (2, "longattn")
        stage, method = (stage, method) if first["kept"][data_id] else (1, "gzip")
        fate = "kept" if row["kept"] else "dropped"
        assert row["reason"].startswith(f"{fate} at stage {stage} ({method}): place "), row["reason"]
        if stage < 3:
            assert row["reason"] == (first if stage == 1 else second)["reason"][data_id]
    # Whoever came further ranks before, and those that fell at one stage stay in its order.
    came = last["reason"].str.extract(r"stage (\d)")[0].astype(int)
    assert came[last.sort_values("rank").index].is_monotonic_decreasing
    fell = first[~first["kept"]].sort_values("rank").index
    assert last["rank"][fell].is_monotonic_increasing
    for _, group in last.groupby("category"):
        shares = 100 * (len(group) - np.arange(len(group))) / len(group)
        np.testing.assert_allclose(group.sort_values("rank")["percentile"], shares)
    assert selection(cascade, "funnel.stage1")["percentile"].max() == 100


def test_what_follows_a_cascade_takes_its_last_stage_and_shows_all(chain, whole):
    settings = cascading()
    cascade = Chain(settings)
    run_cascade(cascade)
    kept = set(selection(cascade, "funnel").query("kept")["data_id"])
    # The loss needs only what the last stage keeps, but the store holds what the cascade needs of it.
    options = cascade.options("score_short")
    assert options["--kept"] == ["results/selections/funnel.stage2.kept.parquet"]
    cascade.make("collect_weights")
    assert len(read_table(cascade.path("score_index"), "score_index")[0]) > len(kept)
    cascade.make("record_frozen_weights")
    for shard in SHARDS:
        cascade.make("export_windows", shard=shard)
    cascade.make("write_data_card")
    card = cascade.path("card").read_text()
    # LongAttn's and LongFilter's papers.
    assert "2502.16860" in card
    assert "2510.25804" in card
    cascade.make("train")
    cascade.make("evaluate", trained="base")
    cascade.make("evaluate")
    cascade.make("summarize_results")
    cascade.make("draw_figures")
    figure = cascade.path("figures", figure="selections").read_text()
    assert all(name in figure for name in STAGES)
    lines = [line.split("\t") for line in cascade.path("summary_table").read_text().splitlines()]
    counts = {name: value for quantity, name, value in lines if quantity == "windows kept"}
    total, left = len(windows(chain)), [int(selection(cascade, name)["kept"].sum()) for name in STAGES]
    assert counts == {
        "funnel.stage1": f"{left[0]} of {total}",
        "funnel.stage2": f"{left[1]} of {left[0]} ({left[1]} of all {total})",
        "funnel": f"{left[2]} of {left[1]} ({left[2]} of all {total})",
    }
    lines = [line.split("\t") for line in cascade.path("funnel").read_text().splitlines()]
    steps = [(step, name, int(count)) for step, name, _, count, _ in lines if name in STAGES]
    assert steps == [
        (step, name, count)
        for name, of, kept_now in zip(STAGES, [total, *left], left, strict=False)
        for step, count in (("not kept", of - kept_now), ("kept", kept_now))
    ]
    answer = explain(Wiring(load_settings(settings)), min(kept))["windowings"]["short-128"]
    assert list(answer["selections"]) == [*STAGES, "drawn"]
    assert answer["trainings"] == ["main/dense"]
    assert {f"selection {name}" for name in STAGES} < answer["made_by"].keys()
    dropped = explain(Wiring(load_settings(settings)), windows(chain)["data_id"][0])
    assert yaml.safe_dump(dropped)


def test_a_larger_early_stage_scores_only_what_is_new(chain, whole):
    run_cascade(Chain(cascading()))
    first = set(scored(chain, "tiny-layer0", "attention_scores"))
    # Weights that do not load: what is there already cannot be scored again.
    larger = Chain(cascading(gzip={"windows": 13}))
    larger.make("select_windows", selection="funnel.stage1")
    larger.make("list_kept_windows", selection="funnel.stage1")
    before = [chain.path("scores", scorer="tiny-layer0", shard=shard).stat().st_size for shard in SHARDS]
    for shard in SHARDS:
        larger.make("score_attention", shard=shard)
    second = set(scored(chain, "tiny-layer0", "attention_scores"))
    assert first < second
    assert len(second) == 13
    assert before != [
        chain.path("scores", scorer="tiny-layer0", shard=shard).stat().st_size for shard in SHARDS
    ]
    # A smaller one scores nothing, and leaves what is there aside.
    weights = chain.path("model").with_name("model.safetensors")
    weights.write_bytes(bytes(weights.stat().st_size))
    smaller = Chain(cascading(gzip={"windows": 9}, longattn={"ratio": 0.4}))
    run_cascade(smaller)
    assert selection(smaller, "funnel.stage2")["score"].notna().sum() == 9
    assert set(scored(chain, "tiny-layer0", "attention_scores")) == second


def test_a_missing_score_of_a_kept_window_is_named_and_others_are_not_asked_for(chain, whole):
    cascade = Chain(cascading())
    for script in ("select_windows", "list_kept_windows"):
        cascade.make(script, selection="funnel.stage1")
    cascade.make("score_attention", shard="00000")
    wider = Chain(cascading(gzip={"windows": 13}))
    cascade.make("score_attention", shard="00001")
    for script in ("select_windows", "list_kept_windows"):
        wider.make(script, selection="funnel.stage1")
    result = wider.run("select_windows", selection="funnel.stage2")
    assert result.code == 1
    assert "scores cover 11 of 13 windows; first missing: short-" in result.stderr
    assert "rerun score_attention for shard" in result.stderr


def test_a_stage_of_other_windows_is_refused(chain, whole):
    cascade = Chain(cascading())
    for script in ("select_windows", "list_kept_windows"):
        cascade.make(script, selection="funnel.stage1")
    for shard in SHARDS:
        cascade.make("score_attention", shard=shard)
    settings = cascading()
    settings["windowings"]["short-128"]["sampling"] = {"windows_per_category": 3}
    other = Chain(settings)
    for shard in SHARDS:
        other.make("assign_windows", shard=shard)
    result = other.run("select_windows", selection="funnel.stage2")
    assert result.code == 1
    assert "funnel.stage1.parquet was made with another windows of shard 00000 (" in result.stderr


def test_a_stage_that_keeps_nothing_of_what_is_there_is_named(chain, whole):
    """A rule for each category may keep none of those that are left, which the settings cannot know."""
    keep = {"per_category": {"prose": {"windows": 0}, "rows": {"tokens": 128}}}
    settings = cascading(
        gzip={"per_category": {"prose": {"windows": 3}, "rows": {"windows": 0}}}, longattn=keep
    )
    cascade = Chain(settings)
    for script in ("select_windows", "list_kept_windows"):
        cascade.make(script, selection="funnel.stage1")
    for shard in SHARDS:
        cascade.make("score_attention", shard=shard)
    cascade.make("select_windows", selection="funnel.stage2")
    result = cascade.run("select_windows", selection="funnel")
    assert result.code == 1
    path = cascade.path("selection", selection="funnel.stage2")
    assert result.stderr == (
        f"select_windows: error: {path} keeps no window, so the stage behind it has none to choose from; "
        "keep more in stage 2\n"
    )


def test_a_selection_without_stages_has_the_bytes_that_it_had(chain):
    """Its settings block has no word of stages."""
    path = chain.path("selection")
    manifest = open_table(path, "selection")[1]
    assert set(manifest.settings) == {"method", "mode", "alpha", "keep", "window_tokens"}
    before = path.read_bytes()
    chain.make("select_windows")
    assert path.read_bytes() == before
    assert selection(chain, "half")["reason"].str.match(r"(kept|dropped): place ").all()


def test_the_benchmark_tells_what_the_cascade_keeps_of_its_last_stages_choice_and_at_what_cost(chain, whole):
    specification = importlib.util.spec_from_file_location("cascade", ROOT / "benchmarks" / "cascade.py")
    sys.modules["cascade"] = benchmark = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(benchmark)
    compared = benchmark.compared_settings(cascading(), "funnel", "results", 0.25)
    both = Chain(compared)
    run_cascade(both)
    for shard in SHARDS:
        both.make("score_short", scorer=benchmark.ALONE, shard=shard)
    both.make("select_windows", selection=benchmark.ALONE)
    seconds = {
        **{f"score_attention/short-128/tiny-layer0/{shard}": 1 for shard in SHARDS},
        **{f"score_short/short-128/tiny-32/{shard}": 4 for shard in SHARDS},
        **{f"score_short/short-128/{benchmark.ALONE}/{shard}": 20 for shard in SHARDS},
        **{f"select_windows/{name}": 0.5 for name in (*STAGES, benchmark.ALONE)},
    }
    # As Snakemake leaves them of its jobs.
    for name, value in seconds.items():
        path = Path("results/benchmarks", f"{name}.tsv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{value}\t0:00:00\n")
    told = benchmark.report(load_settings(compared), "funnel")
    last, alone = selection(both, "funnel"), selection(both, benchmark.ALONE)
    chosen, second = set(alone.query("kept")["data_id"]), selection(both, "funnel.stage2")
    kept, came = (len(chosen & set(table.query("kept")["data_id"])) / len(chosen) for table in (last, second))
    assert f"of these {len(chosen)} the cascade keeps {kept:.1%}; {came:.1%} came to its last stage" in told
    rows = {line[:32].strip(): line[32:].split() for line in told.splitlines()[3:]}
    number = len(second.query("kept"))
    # Tokens, seconds by FLOPs and as measured, and shares of both.
    assert rows["stage 1: gzip"] == ["0", "0", "0.5", "0.0%", "1.2%"]
    assert [rows[name][0] for name in ("stage 2: longattn", "stage 3: nll_gain", benchmark.ALONE)] == [
        f"{windows * 128:,}" for windows in (11, number, len(last))
    ]
    share = float(rows["stage 3: nll_gain"][3].rstrip("%"))
    assert share == pytest.approx(100 * number / len(last), abs=0.1)
    assert [rows[name][2] for name in ("cascade", benchmark.ALONE)] == ["11.5", "40.5"]
    assert re.fullmatch(r"\d+\.\d%", rows["cascade"][3])
    with refused("selections.drawn is no cascade whose last stage has a scorer; name another"):
        benchmark.compared_settings(cascading(), "drawn", "results", 0.2)
