import pytest

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.evaluation.tasks.position_nll import PositionNLL
from longspan.scoring.kinds.short_nll import ShortNLL
from refusals import refused

SHAPE_8B = DecoderShape.of(SHAPE)
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": 798e12, "compile_layers": True}


def scorer(**options):
    return ShortNLL(**{"base_length": 8192, "base_stride": 6144, "windows_per_batch": 5} | options)


def test_it_is_near_what_one_h100_needed():
    needs, two = (scorer().needs(SHAPE_8B, windows, **SCORING) for windows in (1, 2))
    # Without the start, which all windows share.
    assert two.seconds - needs.seconds == pytest.approx(1.125, rel=0.02)
    assert needs.device_bytes == pytest.approx(19.8e9, rel=0.02)
    assert needs.host_bytes > 2 * SHAPE_8B.parameters == pytest.approx(16.06e9, rel=0.01)
    assert scorer().needs(SHAPE_8B, None, **SCORING).seconds is None


def test_the_long_nll_costs_time_memory_and_disk():
    short, both = (
        scorer(windows_per_batch=1, store_long=long).needs(SHAPE_8B, 8, **SCORING) for long in (False, True)
    )
    alone = PositionNLL().needs(SHAPE_8B, 8, **SCORING)
    assert both.device_bytes == alone.device_bytes > short.device_bytes
    assert both.disk_bytes == 2 * short.disk_bytes
    assert max(short.seconds, alone.seconds) < both.seconds < short.seconds + alone.seconds


def test_its_longest_pass_is_the_window_where_the_long_nll_is_stored():
    assert scorer().longest_pass(32768) == 8192
    assert scorer(store_long=True).longest_pass(32768) == 32768
    assert scorer().without == {"long_nll"}
    assert scorer(store_long=True).without == set()


def test_windows_that_the_short_ones_do_not_end_with_are_refused():
    scorer().check_window(8192 + 3 * 6144)
    with refused(
        "base_stride 6144 does not divide sequence_tokens - base_length = 16384 - 8192 = 8192, so the last "
        "token would not be scored; nearest valid: 4096"
    ):
        scorer().check_window(16384)
