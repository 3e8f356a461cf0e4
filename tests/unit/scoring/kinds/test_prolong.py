import pytest

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.scoring.kinds.prolong import Prolong
from refusals import refused

SHAPE_8B = DecoderShape.of(SHAPE)
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": 798e12, "compile_layers": False}


def test_it_costs_a_pass_of_its_pairs():
    one, two = (Prolong().needs(SHAPE_8B, windows, **SCORING) for windows in (1, 2))
    segments, pairs = 256, 500
    output_layer = SHAPE_8B.vocab_size * SHAPE_8B.hidden_size
    decoder = SHAPE_8B.parameters - 2 * output_layer  # the embedding multiplies nothing
    # Of a pair only the later segment goes through the output layer; attention within 256 tokens is cheap.
    flops = 2 * 128 * (segments * (decoder + output_layer) + pairs * (2 * decoder + output_layer))
    assert two.seconds - one.seconds == pytest.approx(flops / (798e12 * 0.773), rel=0.02)
    assert two.disk_bytes == 2 * one.disk_bytes == 2 * (60 + 4 * 256 + 8 * 500)
    few = Prolong(pairs=50).needs(SHAPE_8B, 1, **SCORING)
    assert few.seconds < one.seconds
    assert Prolong().needs(SHAPE_8B, None, **SCORING).seconds is None
    assert Prolong(pairs_per_batch=64).needs(SHAPE_8B, 1, **SCORING).device_bytes > one.device_bytes
    # A short window has no 500 pairs.
    short = SCORING | {"window_tokens": 2048}
    assert Prolong().needs(SHAPE_8B, 1, **short) == Prolong(pairs=120).needs(SHAPE_8B, 1, **short)


def test_its_longest_pass_is_two_segments():
    assert Prolong().longest_pass(32768) == 256


def test_windows_that_segments_do_not_divide_are_refused():
    Prolong().check_window(256)
    with refused(
        "segments of 128 tokens do not divide a window of 2000; set segment_tokens to one of its divisors"
    ):
        Prolong().check_window(2000)
    with refused("a window of 128 tokens is one segment; lower segment_tokens"):
        Prolong().check_window(128)
