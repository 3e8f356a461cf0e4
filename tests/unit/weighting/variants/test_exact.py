from longspan.weighting.exposure import Exposure
from longspan.weighting.variants.exact import Exact


def test_its_options_weigh_plain_cross_entropy_by_context():
    options = {"alpha": 0.5, "gamma": 1, "min_context_tokens": 64}
    loss, exposure = Exact(**options), Exposure(**options)
    assert loss.weighting().is_plain
    assert not loss.is_plain
    found = loss.context_exposure()
    assert [getattr(found, name) for name in options] == [getattr(exposure, name) for name in options]
    assert found.tail_start(256) == 64
