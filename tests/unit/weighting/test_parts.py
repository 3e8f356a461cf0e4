import subprocess
import sys

import pytest

from longspan.weighting.parts import Weighting, split_transform


def test_module_imports_no_torch():
    code = (
        "import sys, longspan.weighting.variant, longspan.scoring.geometry; "
        "from longspan.weighting.variant import LOSS_VARIANTS; list(LOSS_VARIANTS); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"sparsification": 0}, r"sparsification: 0 keeps no token .* \(0, 1\]"),
        ({"sparsification": 1.5}, r"sparsification: 1.5 .* \(0, 1\]"),
        ({"interpolation": 1.01}, r"interpolation: 1.01 is not in \[0, 1\]"),
        ({"interpolation": True}, "interpolation: True is not a number"),
        ({"interpolation": "0.75"}, "interpolation: '0.75' is not a number"),
        ({"truncation": float("inf")}, "truncation: inf is not a finite number"),
        (
            {"comparison": "ratio"},
            "comparison: unknown value 'ratio'.*; valid: difference, quotient, kl_term",
        ),
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
def test_impossible_parts_are_refused_by_name(parts, message):
    with pytest.raises(ValueError, match=message):
        Weighting(**parts)


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
    assert Weighting(**parts, normalization="L1").normalization == "L1"


def test_shift_passes_its_check():
    # The released code's check refuses every "shift s".
    assert split_transform("shift 2") == ("shift", 2.0)
    assert Weighting(transforms=["shift 2", "max"]).transforms == ("shift 2", "max")
