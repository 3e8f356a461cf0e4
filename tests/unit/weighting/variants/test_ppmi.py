import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.ppmi import PPMI


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"shift": 2}, Weighting(transforms=("minus", "shift 2", "max"), normalization="L1")),
        ({}, Weighting(transforms=("minus", "shift 1.0", "max"), normalization="L1")),
        (
            {"sparsification": 0.1},
            Weighting(transforms=("minus", "shift 1.0", "max"), normalization="L1", sparsification=0.1),
        ),
    ],
)
def test_its_options_become_parts(options, parts):
    assert PPMI(**options).weighting() == parts
