import subprocess
import sys

import pytest

from longspan.weighting.parts import VARIANTS, Weighting, split_transform, weighting_from_settings


def test_module_imports_no_torch():
    code = (
        "import sys, longspan.weighting.parts, longspan.scoring.geometry; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"variant": "plain"}, Weighting(interpolation=1.0)),
        (
            {"variant": "dense", "interpolation": 0.5},
            Weighting(transforms=("absolute",), normalization="L1", interpolation=0.5),
        ),
        (
            {"variant": "dense"},
            Weighting(transforms=("absolute",), normalization="L1", interpolation=0.75),
        ),
        (
            {"variant": "sparse", "sparsification": 0.2},
            Weighting(transforms=("absolute",), normalization="L1", sparsification=0.2),
        ),
        ({"variant": "longce"}, Weighting(transforms=("minus", "exp"), truncation=5.0)),
        ({"variant": "longce", "truncation": 3}, Weighting(transforms=("minus", "exp"), truncation=3)),
        (
            {"variant": "ppmi", "shift": 2},
            Weighting(transforms=("minus", "shift 2", "max"), normalization="L1"),
        ),
        (
            {"variant": "npmi", "shift": 0.5, "sparsification": 0.1},
            Weighting(transforms=("shift 0.5", "max"), normalization="L1", sparsification=0.1),
        ),
        (
            {"comparison": "quotient", "transforms": ["shift 2", "exp"], "normalization": "softmax"},
            Weighting("quotient", ("shift 2", "exp"), normalization="softmax"),
        ),
        ({"transforms": [], "truncation": None}, Weighting()),
    ],
)
def test_settings_become_parts(block, parts):
    assert weighting_from_settings(block) == parts


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"variant": "dence"},
            r"variant: unknown value 'dence' \(did you mean 'dense'\?\); valid: plain",
        ),
        ({"variant": "sparse"}, "sparsification: variant 'sparse' needs a value"),
        ({"variant": "dense", "interpolation": None}, "interpolation: variant 'dense' needs a value"),
        (
            {"variant": "sparse", "sparsification": 0.2, "interpolation": 0.5},
            "interpolation: 0.5 is foreign to variant 'sparse'; its keys: sparsification",
        ),
        ({"variant": "plain", "sparsification": 0.2}, "sparsification: 0.2 is foreign to variant 'plain'"),
        ({"variant": "ppmi", "shfit": 2}, r"'ppmi' \(did you mean 'shift'\?\)"),
        ({"variant": "ppmi", "shift": 0}, "shift: 0 is not above 0"),
        ({"variant": "ppmi", "shift": "2"}, "shift: '2' is not a number"),
        ({"variant": "sparse", "sparsification": 0}, r"sparsification: 0 keeps no token .* \(0, 1\]"),
        ({"variant": "sparse", "sparsification": 1.5}, r"sparsification: 1.5 .* \(0, 1\]"),
        ({"variant": "dense", "interpolation": 1.01}, r"interpolation: 1.01 is not in \[0, 1\]"),
        ({"variant": "dense", "interpolation": True}, "interpolation: True is not a number"),
        ({"variant": "dense", "interpolation": "0.75"}, "interpolation: '0.75' is not a number"),
        ({"variant": "longce", "truncation": float("inf")}, "truncation: inf is not a finite number"),
        ({"interpolate": 0.5}, r"interpolate: .* \(did you mean 'interpolation'\?\)"),
        ({"shift": 2}, "shift: unknown key of a weighting without a variant"),
        ({"comparison": "ratio"}, "comparison: unknown value 'ratio'.*; valid: difference, quotient"),
        ({"normalization": "l1"}, "normalization: unknown value 'l1'.*; valid: L1, softmax"),
        ({"transforms": ["absolut"]}, r"unknown transform 'absolut' \(did you mean 'absolute'\?\)"),
        ({"transforms": "absolute"}, "transforms: 'absolute' is not a list"),
        ({"transforms": ["shift"]}, "'shift' must be 'shift s'"),
        ({"transforms": ["shift two"]}, "'shift two' must be 'shift s'"),
        ({"transforms": ["shift 0"]}, "'shift 0': the shift must be a finite number above 0"),
        ({"transforms": ["shift -1"]}, "'shift -1': the shift must be"),
        ({"transforms": ["exp 2"]}, "'exp 2': only 'shift' takes a number"),
        ({"transforms": [2]}, "2 is not a transform"),
        ({"normalization": "L1"}, "normalization: 'L1' needs entries that cannot be negative"),
        ({"transforms": ["absolute", "minus"], "normalization": "L1"}, "cannot be negative"),
        ({"transforms": ["absolute", "shift 2"], "normalization": "L1"}, "cannot be negative"),
        ({"transforms": ["exp"], "truncation": -1, "normalization": "L1"}, "cannot be negative"),
    ],
)
def test_impossible_settings_are_refused_by_name(block, message):
    with pytest.raises(ValueError, match=message):
        weighting_from_settings(block)


@pytest.mark.parametrize(
    "parts",
    [
        {"transforms": ["max"]},
        {"transforms": ["exp", "shift 0.5"]},
        {"transforms": ["minus"], "sparsification": 0.5},
        {"comparison": "quotient"},
        {"transforms": ["minus"], "interpolation": 1},
    ],
)
def test_l1_is_accepted_where_no_entry_can_be_negative(parts):
    assert weighting_from_settings(parts | {"normalization": "L1"}).normalization == "L1"


def test_shift_passes_its_check():
    # The released code's check refuses every "shift s".
    assert split_transform("shift 2") == ("shift", 2.0)
    assert weighting_from_settings({"variant": "ppmi", "shift": 2}).transforms == ("minus", "shift 2", "max")


def test_only_lambda_one_needs_no_scores():
    settings = {"sparse": {"sparsification": 0.5}}
    plain = {v: weighting_from_settings({"variant": v} | settings.get(v, {})).is_plain for v in VARIANTS}
    assert plain == {v: v == "plain" for v in VARIANTS}
    assert weighting_from_settings({"variant": "dense", "interpolation": 1}).is_plain
