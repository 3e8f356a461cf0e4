import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LOSS_VARIANTS, LossParts, loss_of_settings, weighting_from_settings
from refusals import refused


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (
            {"comparison": "quotient", "transforms": ["shift 2", "exp"], "normalization": "softmax"},
            Weighting("quotient", ("shift 2", "exp"), normalization="softmax"),
        ),
        ({"transforms": [], "truncation": None}, Weighting()),
        ({"truncation": "1e1"}, Weighting(truncation=10.0)),  # YAML 1.1 takes 1e1 for a word
    ],
)
def test_settings_without_a_variant_are_parts(block, parts):
    assert isinstance(loss_of_settings(block), LossParts)
    assert weighting_from_settings(block) == parts


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"variant": "dense", "interpolation": None}, "interpolation.*\n.*not a finite number"),
        (
            {"variant": "sparse", "sparsification": 0.2, "interpolation": 0.5},
            "interpolation\n.*not permitted",
        ),
        ({"variant": "plain", "sparsification": 0.2}, "sparsification\n.*not permitted"),
        ({"variant": "ppmi", "shfit": 2}, "shfit\n.*not permitted"),
        ({"variant": "ppmi", "shift": 0}, "shift\n.*greater than 0"),
        ({"variant": "ppmi", "shift": "2"}, "shift\n.*not a finite number"),
        ({"variant": "sparse", "sparsification": 0}, "sparsification\n.*greater than 0"),
        ({"variant": "sparse", "sparsification": 1.5}, "sparsification\n.*less than or equal to 1"),
        ({"variant": "dense", "interpolation": 1.01}, "interpolation\n.*less than or equal to 1"),
        ({"variant": "dense", "interpolation": True}, "interpolation\n.*not a finite number"),
        ({"variant": "dense", "interpolation": "0.75"}, "interpolation\n.*not a finite number"),
        ({"variant": "longce", "truncation": float("inf")}, "truncation\n.*not a finite number"),
        ({"interpolate": 0.5}, "interpolate\n.*not permitted"),
        ({"shift": 2}, "shift\n.*not permitted"),
        ({"comparison": "ratio"}, "comparison\n.*'difference' or 'quotient'"),
        ({"normalization": "l1"}, "normalization\n.*'L1' or 'softmax'"),
        ({"transforms": ["absolut"]}, r"unknown transform 'absolut' \(did you mean 'absolute'\?\)"),
        ({"transforms": "absolute"}, "transforms\n.*valid list"),
        ({"transforms": [2]}, r"transforms\.0\n.*valid string"),
        ({"transforms": ["absolute", "minus"], "normalization": "L1"}, "cannot be negative"),
    ],
)
def test_impossible_settings_are_refused_by_name(block, message):
    with pytest.raises(ValueError, match=message):
        weighting_from_settings(block)


def test_an_unknown_variant_is_named_with_the_nearest():
    with refused("there is no loss variant 'dence'; did you mean 'dense'?"):
        weighting_from_settings({"variant": "dence"})


def test_only_lambda_one_needs_no_scores():
    settings = {"sparse": {"sparsification": 0.5}}
    plain = {
        name: weighting_from_settings({"variant": name} | settings.get(name, {})).is_plain
        for name in LOSS_VARIANTS.names()
    }
    assert plain == {name: name == "plain" for name in plain}
    assert weighting_from_settings({"variant": "dense", "interpolation": 1}).is_plain


def test_only_what_was_given_stands_in_the_settings():
    """What is recorded of a loss is what was written, whatever its variant's defaults."""
    assert loss_of_settings({"variant": "dense"}).as_settings() == {}
    assert loss_of_settings({"variant": "dense", "interpolation": 1}).as_settings() == {"interpolation": 1}
    assert loss_of_settings({"transforms": []}).as_settings() == {"transforms": []}
    assert loss_of_settings({"variant": "dense", "shuffle_weights": True}).as_settings() == {
        "shuffle_weights": True
    }


@pytest.mark.parametrize("block", [{"variant": "plain"}, {"interpolation": 1}])
def test_weights_that_are_all_one_have_no_control(block):
    with refused("shuffle_weights: all weights of plain cross-entropy are 1; remove it"):
        loss_of_settings(block | {"shuffle_weights": True}).check()
    loss_of_settings(block).check()
    loss_of_settings({"variant": "dense", "shuffle_weights": True}).check()


@pytest.mark.parametrize("name", LOSS_VARIANTS.names())
def test_every_variant_has_a_label_and_a_description(name):
    variant = LOSS_VARIANTS[name]
    assert variant.label
    assert variant.description().endswith(".")
    assert bool(variant.citations) == (name != "plain")
