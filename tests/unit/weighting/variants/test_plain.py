from longspan.weighting.parts import Weighting
from longspan.weighting.variants.plain import Plain


def test_it_needs_no_scores():
    assert Plain().weighting() == Weighting(interpolation=1.0)
    assert Plain().weighting().is_plain
