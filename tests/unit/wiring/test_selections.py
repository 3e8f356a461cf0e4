import pytest

from tiny_settings import FUNNEL, GAIN, GZIP, TINY
from tiny_wiring import WILDCARDS, put, wildcards, wiring_of


@pytest.mark.parametrize(
    ("block", "sources"),
    [
        (TINY["selections"]["half"], {"scores": "results/scores/short-128/tiny-layer0"}),
        (GAIN, {"scores": "results/scores/short-128/tiny-32"}),
        ({"method": "gzip"}, {"documents": "results/corpora/short/documents"}),
        ({"method": "random"}, {}),
    ],
)
def test_a_selection_looks_at_what_its_method_needs(block, sources):
    change = put("selections/half", {"windowing": "short-128", "keep": {"ratio": 0.5}} | block)
    selections = wiring_of(change).selections
    found = selections.sources(WILDCARDS)
    assert found == {
        name: [f"{folder}/{shard}.parquet" for shard in ("00000", "00001")]
        for name, folder in sources.items()
    }
    arguments = [part for name, folder in sources.items() for part in (f"--{name}", folder)]
    assert selections.source_arguments(WILDCARDS, found) == arguments
    assert selections.method(WILDCARDS) == block["method"]


def test_only_a_random_selection_depends_on_the_seed():
    def settings_of(method, seed, name="half"):
        def change(settings):
            settings["seed"] = seed
            for selection in ("half", "other"):
                settings["selections"][selection] = {
                    "windowing": "short-128", "method": method, "keep": {"ratio": 0.5}
                }  # fmt: skip

        return wiring_of(change).selections.settings(wildcards(selection=name))

    assert settings_of("gzip", 1) == settings_of("gzip", 2)
    draws = [settings_of("random", 1), settings_of("random", 2), settings_of("random", 1, "other")]
    assert len({block["seed"] for block in draws}) == 3


def test_a_stage_knows_its_place_and_the_stage_before():
    def change(settings):
        settings["selections"]["funnel"] = FUNNEL

    selections = wiring_of(change).selections
    names = [wildcards(selection=name) for name in ("funnel.stage1", "funnel.stage2", "funnel")]
    folder = "results/selections"
    assert [selections.before(name) for name in names] == [
        [],
        [f"{folder}/funnel.stage1.parquet"],
        [f"{folder}/funnel.stage2.parquet"],
    ]
    assert [selections.method(name) for name in names] == ["gzip", "longattn", "nll_gain"]
    assert selections.settings(names[0]) == GZIP | {"window_tokens": 128, "stage": 1}
    assert selections.settings(names[2])["stage"] == 3
    assert list(selections.sources(names[1])) == ["scores"]
    assert selections.shard_count(names[1]) == 2
    # A selection without stages has no word of them.
    assert selections.before(WILDCARDS) == []
    assert "stage" not in selections.settings(WILDCARDS)


def test_a_stage_draws_alike_whether_stages_stand_behind_it():
    def settings_of(stages, name):
        draw = {"method": "random", "keep": {"windows": 4}}
        change = put("selections/funnel", {"windowing": "short-128", "stages": [draw] * stages})
        return wiring_of(change).selections.settings(wildcards(selection=name))

    assert settings_of(2, "funnel") == settings_of(3, "funnel.stage2")
    assert settings_of(2, "funnel")["seed"] != settings_of(2, "funnel.stage1")["seed"]
