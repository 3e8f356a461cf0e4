import pytest

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.scoring.kinds.attention import Attention

SHAPE_8B = DecoderShape.of(SHAPE)
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": 798e12, "compile_layers": False}


def test_it_is_near_what_one_h100_needed():
    one, two = (Attention().needs(SHAPE_8B, windows, **SCORING) for windows in (1, 2))
    # Without the start, which all windows share.
    assert two.seconds - one.seconds == pytest.approx(32768 / 2.99e6, rel=0.02)
    assert one.device_bytes == pytest.approx(2.2e9, rel=0.05)
    assert Attention().needs(SHAPE_8B, None, **SCORING).seconds is None


def test_float32_takes_longer_and_more_memory():
    half, full = (
        Attention().needs(SHAPE_8B, 20_000, **SCORING | {"dtype": name}) for name in ("float16", "float32")
    )
    assert full.seconds > 5 * half.seconds
    assert full.device_bytes == pytest.approx(2 * half.device_bytes, rel=0.01)


def test_it_depends_on_the_models_first_layer_alone():
    assert Attention.first_layer_only
    assert Attention.model_digest == "first_layer_digest"
    assert "attention" not in Attention.forward_keys  # whatever implementation attends
