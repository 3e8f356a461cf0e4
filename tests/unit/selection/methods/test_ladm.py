import numpy as np
import pytest

from longspan.selection.methods.ladm import Ladm


def test_scores_are_means_over_layers(stores):
    table, _ = stores.score(Ladm())
    assert table["data_id"].tolist() == stores.ids
    expected = [sum(stores.layer_scores[data_id]) / 2 for data_id in stores.ids]
    np.testing.assert_allclose(table["score"], expected, rtol=1e-12)


def test_a_score_that_is_not_finite_is_refused(stores):
    stores.layer_scores[stores.ids[2]][1] = np.nan
    stores.write_layer_scores("00000")
    with pytest.raises(ValueError, match=f"not finite for 1 of 5 windows: {stores.ids[2]}"):
        stores.score(Ladm())
