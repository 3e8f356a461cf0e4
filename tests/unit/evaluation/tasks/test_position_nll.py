import numpy as np
import pandas as pd
import pytest

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.evaluation.held_out import perplexity
from longspan.evaluation.tasks.position_nll import PositionNLL

SHAPE_8B = DecoderShape.of(SHAPE)
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": 798e12, "compile_layers": False}


def test_float32_takes_longer_and_more_memory():
    half, full = (
        PositionNLL().needs(SHAPE_8B, 20_000, **SCORING | {"dtype": name}) for name in ("float16", "float32")
    )
    assert full.seconds > 5 * half.seconds
    assert full.device_bytes == pytest.approx(2 * half.device_bytes, rel=0.01)
    assert PositionNLL().needs(SHAPE_8B, None, **SCORING).seconds is None


def test_windows_of_each_work_bound_what_is_measured():
    few = PositionNLL(windows_per_document=3)
    assert few.windows_measured(None, 2) == 6
    assert few.windows_measured(4, 2) == 4
    # How many works a source has that is held out as a whole is not known.
    assert few.windows_measured(4, None) == 4
    assert PositionNLL().windows_measured(9, 2) == 9
    assert PositionNLL().windows_measured(None, 2) is None


def row(window, nll_sum):
    return {
        "data_id": f"x_{window}",
        "document_id": f"d{window // 2}",
        "position_start": 1,
        "position_stop": 11,
        "nll_sum": nll_sum,
    }


def test_the_summary_compares_perplexities():
    base, trained = ([row(window, nll) for window in range(3)] for nll in (20.0, 10.0))
    value = "7.389 → 2.718 (3 windows of 2 works)"
    assert PositionNLL().summary(base, trained) == [("held-out perplexity", value)]


def test_values_are_means_a_token_and_belong_to_documents():
    rows = pd.DataFrame(
        [
            {**row(0, 20.0), "category": "prose"},
            {**row(0, 5.0), "category": "prose", "position_start": 11, "position_stop": 16},
            {**row(2, 30.0), "category": "verse"},
        ]
    )
    found = PositionNLL().checked_values(rows, "table").loc["nll"]
    assert found.index.tolist() == ["x_0/1", "x_0/11", "x_2/1"]
    assert found["value"].tolist() == [2.0, 1.0, 3.0]
    assert found["weight"].tolist() == [10, 5, 10]
    assert found["length"].tolist() == [1, 11, 1]
    assert found["cluster"].tolist() == ["d0", "d0", "d1"]
    mean = np.average(found["value"], weights=found["weight"])
    assert np.exp(mean) == pytest.approx(perplexity(rows.to_dict("records")))
