import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.npmi import NPMI


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            {"shift": 0.5, "sparsification": 0.1},
            Weighting(transforms=("shift 0.5", "max"), normalization="L1", sparsification=0.1),
        ),
        ({}, Weighting(transforms=("shift 1.0", "max"), normalization="L1")),
    ],
)
def test_its_options_become_parts(options, parts):
    assert NPMI(**options).weighting() == parts
