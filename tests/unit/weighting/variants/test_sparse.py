import pytest

from longspan.weighting.parts import Weighting
from longspan.weighting.variants.sparse import Sparse


@pytest.mark.parametrize(
    ("options", "parts"),
    [({"sparsification": 0.2}, Weighting(transforms=("absolute",), normalization="L1", sparsification=0.2))],
)
def test_its_options_become_parts(options, parts):
    assert Sparse(**options).weighting() == parts


def test_a_share_must_be_given():
    with pytest.raises(ValueError, match=r"sparsification\n.*required"):
        Sparse()
