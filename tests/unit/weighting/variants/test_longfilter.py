import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.longfilter import LongFilter


@pytest.mark.parametrize(("options", "interpolation"), [({}, 0.75), ({"interpolation": 0.5}, 0.5)])
def test_its_options_become_parts(options, interpolation):
    parts = Weighting("kl_term", ("max",), normalization="L1", interpolation=interpolation)
    assert LongFilter(**options).weighting() == parts
