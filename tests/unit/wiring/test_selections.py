import pytest

from tiny_settings import GAIN, TINY
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
