import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.dense import Dense


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"interpolation": 0.5}, Weighting(transforms=("absolute",), normalization="L1", interpolation=0.5)),
        ({}, Weighting(transforms=("absolute",), normalization="L1", interpolation=0.75)),
    ],
)
def test_its_options_become_parts(options, parts):
    assert Dense(**options).weighting() == parts
