import numpy as np
import pytest

from longspan.training.exposure import TrainingExposure
from longspan.training.rows import TrainingRows
from refusals import refused

WINDOW = 64


class Windows:
    def __init__(self, *lengths):
        self.lengths = lengths
        self.data_ids = [f"w_{number}" for number in range(len(lengths))]

    def document_lengths(self, index):
        return self.lengths[index]


def rows_of(*lengths, count=4):
    return TrainingRows({"long": Windows(*lengths)}, {"long": 1.0}, count, seed=0)


def exposure_of(loss, *lengths, count=4):
    return TrainingExposure({"loss": loss}, rows_of(*lengths, count=count), WINDOW)


@pytest.mark.parametrize("loss", [{"variant": "plain"}, {"variant": "dense"}])
def test_a_training_without_weights_by_context_is_counted_all_the_same(loss):
    exposure = exposure_of(loss, (WINDOW,))
    assert exposure.context_weights is None
    assert exposure.rows() == [
        {"context_start": start, "context_stop": stop, "targets": 4 * count, "weight": 1.0, "is_tail": tail}
        for start, stop, count, tail in (
            (0, 8, 7, False),
            (8, 16, 8, False),
            (16, 32, 16, True),
            (32, 64, 32, True),
        )
    ]


def test_the_table_holds_what_the_loss_multiplies_by():
    loss = {"variant": "dense", "self_scoring": {"base_length": 8}, "exposure": {"min_context_tokens": 20}}
    exposure = exposure_of(loss, (WINDOW,), (30, 34), count=6)
    rows = exposure.rows()
    assert tuple(row["weight"] for row in rows) == exposure.context_weights.weights
    assert [row["is_tail"] for row in rows] == [False, False, False, True]
    targets, weights = (np.array([row[name] for row in rows]) for name in ("targets", "weight"))
    assert targets.sum() == 3 * 63 + 3 * (29 + 33)
    assert (targets * weights).sum() == pytest.approx(1.15 * targets.sum())


def test_a_window_of_one_bucket_has_no_tail():
    exposure = TrainingExposure({"loss": {"variant": "plain"}}, rows_of((8,)), 8)
    assert [row["is_tail"] for row in exposure.rows()] == [False]


def test_a_tail_without_targets_is_refused():
    message = (
        "min_context_tokens: no target of this training has 16 tokens of context; lower it, or train on "
    )
    with refused(message + "more long windows"):
        exposure_of({"variant": "exact"}, (10, 10, 10))
