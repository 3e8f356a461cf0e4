import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.longce import LongCE


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, Weighting(transforms=("minus", "exp"), truncation=5.0)),
        ({"truncation": 3}, Weighting(transforms=("minus", "exp"), truncation=3)),
    ],
)
def test_its_options_become_parts(options, parts):
    assert LongCE(**options).weighting() == parts
