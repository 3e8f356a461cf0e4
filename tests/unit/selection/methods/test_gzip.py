import numpy as np

from longspan.selection.methods.gzip import Gzip, compressibility
from longspan.store.tables import read_table
from refusals import refused


def test_compressibility_rises_with_repetition():
    noise = "".join(map(chr, np.random.default_rng(0).integers(32, 127, 4000)))
    repeated, random, empty = compressibility(["ab" * 2000, noise, ""])
    assert repeated > 0.9 > 0.5 > random
    assert empty == 0


def test_the_exact_text_of_each_window_is_compressed(stores):
    stores.cut_from_documents()
    table, inputs = stores.score(Gzip())
    np.testing.assert_array_equal(table["score"], compressibility(stores.texts))
    documents = read_table(stores.path("documents", "00000"), "documents")[1]
    assert inputs["documents/00000"] == documents.data_digest


def test_documents_that_the_windows_were_not_cut_from_are_refused(stores):
    found = read_table(stores.path("documents", "00000"), "documents")[1].data_digest
    with refused(
        f"{stores.path('windows', '00000')} was made with another documents file (d) than the one at hand "
        f"({found[:12]}); delete it and run the same target again, which reruns assign_windows"
    ):
        stores.score(Gzip())
