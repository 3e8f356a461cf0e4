import numpy as np

from longspan.selection.methods.random import Random
from longspan.store.draws import uniform_by_id


def test_a_draw_depends_on_id_and_seed_alone(stores):
    assert Random.is_drawn
    table, inputs = stores.score(Random(), seed=4)
    np.testing.assert_array_equal(table["score"], uniform_by_id(stores.ids, 4))
    assert inputs.keys() == {"windows/00000", "windows/00001"}
    assert not table["score"].equals(stores.score(Random(), seed=5)[0]["score"])
