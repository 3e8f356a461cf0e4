"""Scores by a method that is no part of the library: what it is given, and what is asked of it."""

from typing import ClassVar

import numpy as np
import pytest

from longspan.selection.method import SELECTION_METHODS, Needs, SelectionMethod
from longspan.store.tables import read_table, write_table
from refusals import refused


class LastTokens(SelectionMethod):
    """The last token, and how many windows came before."""

    name: ClassVar[str] = "last_tokens"
    label: ClassVar[str] = "last token"
    needs: ClassVar[Needs] = Needs(tokens=True, documents=True)

    def measure(self, shard, scores):
        assert scores is None
        return {
            "last": np.array([shard.input_ids(data_id)[-1] for data_id in shard.data_ids]),
            "characters": np.array([len(text) for text in shard.texts()]),
        }

    def score(self, windows, *, seed):
        return windows["last"] - windows["last"].mean() + windows["characters"]


def test_a_method_is_given_the_tables_that_it_needs_and_then_all_windows_at_once(stores):
    stores.cut_from_documents()
    table, inputs = stores.score(LastTokens())
    assert table["data_id"].tolist() == stores.ids
    # Token i of a document is 100 times its number plus i; these are of `stored_tables.write_shards`.
    last = np.array([107, 115, 208, 107, 115])
    assert table["last"].tolist() == last.tolist()
    np.testing.assert_allclose(table["score"], last - last.mean() + 8)
    assert table["score"].dtype == np.float64
    kinds = {"windows": "windows", "documents": "documents", "tokens": "tokens"}
    assert inputs == {
        f"{name}/{shard}": read_table(stores.path(name, shard), kind)[1].data_digest
        for name, kind in kinds.items()
        for shard in ("00000", "00001")
    }


@pytest.mark.parametrize("method", list(SELECTION_METHODS), ids=SELECTION_METHODS.names())
def test_every_method_gives_each_window_a_score_and_says_what_it_is(stores, method):
    stores.cut_from_documents()
    scores = stores.score(method(), seed=1)[0]["score"]
    assert np.isfinite(scores).all()
    assert len(scores) == len(stores.ids)
    assert method.label
    assert method.description().endswith((".", ")."))


def test_a_corpus_without_windows_is_refused(stores):
    for shard in ("00000", "00001"):
        table, manifest = read_table(stores.path("windows", shard), "windows")
        same = {"settings": manifest.settings, "inputs": manifest.inputs, "tokenizer": manifest.tokenizer}
        write_table(stores.path("windows", shard), "windows", table.slice(0, 0), **same)
    with refused("the corpus gives no window: every document is shorter; shorten window_tokens, or add text"):
        stores.score(SELECTION_METHODS["random"](), seed=1)


def test_an_unknown_method_is_refused():
    with refused(f"there is no selection method 'best'; valid are: {', '.join(SELECTION_METHODS.names())}"):
        SELECTION_METHODS["best"]
