"""The command longspan over finished results: list, explain --html, compare, status."""

import contextlib
import io
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from longspan.store.tables import read_table
from longspan_workflow.__main__ import main
from tiny_chain import TINY


def ask(*words):
    """What the command prints under the tiny settings."""
    Path("config.yaml").write_text(yaml.safe_dump(TINY))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        main(list(words))
    return output.getvalue()


def selection(name="half"):
    return read_table(f"results/selections/{name}.parquet", "selection")[0].to_pandas().sort_values("rank")


def listed(*words):
    """Ids in the order of the list."""
    lines = ask("list", *words).splitlines()
    assert lines[1].split()[:2] == ["rank", "kept"]
    return [next(word for word in line.split() if word.startswith("short-0")) for line in lines[2:]]


def test_windows_are_listed_by_rank(chain):
    ranked = selection()["data_id"].tolist()
    assert listed() == ranked
    assert listed("--count", "3") == ranked[:3]
    assert listed("--part", "bottom", "--count", "3") == ranked[-3:]
    assert listed("--selection", "drawn") == selection("drawn")["data_id"].tolist()
    assert ask("list").startswith("half: 8 of 16 windows kept; top of 16\n")


def test_the_border_is_what_the_cut_parts(chain):
    found = set(listed("--part", "border", "--count", "4"))
    for _, rows in selection().groupby("category"):
        assert rows["data_id"][rows["kept"]].iloc[-1] in found
        assert rows["data_id"][~rows["kept"]].iloc[0] in found


def test_windows_are_found_by_source_and_title(chain):
    rows = selection()
    assert listed("--source", "ROWS") == rows["data_id"][rows["category"] == "rows"].tolist()
    assert 0 < len(listed("--title", "prose_")) == (rows["category"] == "prose").sum()
    assert ask("list", "--title", "no such title") == "half: no window of that kind\n"


def test_an_unknown_selection_is_refused_with_the_nearest(chain):
    with pytest.raises(ValueError, match="no selection hlaf; the nearest are: half"):
        ask("list", "--selection", "hlaf")


def reader_of(path):
    page = Path(path).read_text(encoding="utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert set(data) == {"title", "heading", "reader"}
    return data["reader"]["windows"]


def test_any_window_can_be_read_in_a_page_of_its_own(chain):
    kept = selection()["data_id"].iloc[0]
    assert ask("explain", kept, "--html", "one.html") == "one.html: 1 window to read\n"
    (window,) = reader_of("one.html")
    assert window["id"] == kept
    assert window["store"] == "tiny-32"
    assert "selection half: kept: place " in window["why"]
    # One that sampling left out, and one that is held out, have no scores.
    drawn = set(selection()["data_id"])
    number = next(n for n in range(1, 40) if f"short-00000_{n:07d}" not in drawn)
    for data_id, why in (
        (f"short-00000_{number:07d}", "not drawn"),
        ("short-held_out_0000001", "held out"),
    ):
        ask("explain", data_id, "--html", "other.html")
        (window,) = reader_of("other.html")
        assert (window["id"], window["store"]) == (data_id, None)
        assert why in window["why"]


def test_a_document_is_read_by_its_windows(chain):
    documents = read_table("results/corpora/short/documents/00000.parquet", "documents", ["document_id"])[0]
    name = documents.column(0)[0].as_py()
    ask("explain", name, "--html", "all.html")
    windows = reader_of("all.html")
    assert {window["document"] for window in windows} == {name}
    with pytest.raises(ValueError, match="no window or document nowhere; the nearest are"):
        ask("explain", "nowhere", "--html", "none.html")
    assert not Path("none.html").exists()


def test_an_explanation_begins_with_why(chain):
    answer = yaml.safe_load(ask("explain", selection()["data_id"].iloc[0]))
    assert next(iter(answer)) == "why"
    assert "rank 1 over all, better than or equal to 100.0% of its category" in " ".join(answer["why"])
    assert answer["why"][-1] == "short-128: used by training main/dense, export kept"


def test_two_folders_of_results_are_set_against_each_other(chain):
    shutil.copytree("results", "other")
    same = ask("compare", "results", "other")
    assert same.startswith("Settings\nthe same\n")
    assert "8 and 8 windows kept, 8 by both; rank correlation 1.00" in same
    assert "main/dense  position_nll: nll" in same
    settings = yaml.safe_load(Path("other/settings.yaml").read_text())
    settings["seed"] = 99
    settings["losses"]["plain"] = {"variant": "plain"}
    Path("other/settings.yaml").write_text(yaml.safe_dump(settings))
    Path("other/selections/drawn.parquet").unlink()
    lines = [line.split() for line in ask("compare", "results", "other").splitlines()]
    assert ["seed", "1", "99"] in lines
    assert ["losses.plain", "–", "there"] in lines
    assert ["drawn", "only", "in", "results"] in lines
    with pytest.raises(ValueError, match=r"nowhere has no settings\.yaml, so it is no folder of results"):
        ask("compare", "results", "nowhere")


def test_the_state_of_a_run_is_told_by_its_files(chain):
    assert ["train", "1", "of", "1"] in [line.split() for line in ask("status").splitlines()]
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*") if path.is_file()}
    for shard in ("00000", "00001"):
        Path(f"results/scores/short-128/tiny-32/{shard}.parquet").unlink()
    Path("results/runs/main/dense/seed0/metrics.parquet").unlink()
    logs = Path("results/logs")
    for shard, text in (
        ("00000", "loading\nscore_windows: error: CUDA ran out of memory for 12 windows\n"),
        ("00001", "score_windows: error: CUDA ran out of memory for 7 windows\n"),
    ):
        log = logs / f"score_short/short-128/tiny-32/{shard}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
    log = logs / "train/main/dense/0.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "x:  25%|██▌  | 1/4 [00:05<00:15,  5.00s/it]\rx:  50%|█████ | 2/4 [00:10<00:10,  5.00s/it]"
    )
    benchmark = Path("results/benchmarks/score_attention/short-128/tiny-layer0/00000.tsv")
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\n7200.0\t2:00:00\n")
    text = ask("status")
    lines = [line.split() for line in text.splitlines()]
    assert ["score_short", "0", "of", "2", "unknown"] in lines
    assert ["score_attention", "2", "of", "2", "7,200.0"] in lines
    assert "2 × CUDA ran out of memory for 12 windows" in text
    assert "train main/dense/0: 50%, 2/4 [00:10<00:10,  5.00s/it]" in text
    assert "GPU-hours of finished jobs (or of the CPU in their place): 2.00; no estimate was made" in text
    old = time.time() - 3600
    os.utime(log, (old, old))
    assert "At work" not in ask("status")
    after = {path: path.stat().st_mtime_ns for path in before if path.exists()}
    assert after == {path: before[path] for path in after}
