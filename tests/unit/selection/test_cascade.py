"""Stages: what a later one looks at, and the table over all windows that it leaves."""

import numpy as np
import pandas as pd
import pytest

from longspan.selection.cascade import EarlierStage, stage_table
from longspan.selection.method import SELECTION_METHODS
from longspan.selection.scores import score_windows
from longspan.selection.table import selection_table
from longspan.store.tables import read_table, write_table
from longspan.windows.shard import Shard
from refusals import refused


def earlier(stores, kept, *, windows="windows", stage=1) -> EarlierStage:
    """The table of a first stage that keeps these windows."""
    table = selection_table(stores.ids, np.arange(len(stores.ids)), keep={"ratio": 0.5})
    rows = stage_table(
        table.assign(kept=table["data_id"].isin(kept)), stage=stage, method="gzip", before=None
    )
    digests = {
        f"{windows}/{shard}": read_table(stores.path("windows", shard), "windows")[1].data_digest
        for shard in ("00000", "00001")
    }
    path = stores.path("selections", "first")
    write_table(path, "selection", rows.to_dict("records"), settings={"stage": stage}, inputs=digests)
    return EarlierStage.read(path)


@pytest.mark.parametrize("method", list(SELECTION_METHODS), ids=SELECTION_METHODS.names())
def test_a_later_stage_of_every_method_looks_at_what_is_left_alone(stores, monkeypatch, method):
    stores.cut_from_documents()
    kept = [stores.ids[0], stores.ids[3], stores.ids[4]]
    asked = set()
    for name in ("text", "input_ids"):
        whole = getattr(Shard, name)
        monkeypatch.setattr(
            Shard, name, lambda self, data_id, whole=whole: asked.add(data_id) or whole(self, data_id)
        )
    before = earlier(stores, kept)
    table, inputs = score_windows(method(), stores.tables(method()), seed=1, before=before)
    assert table["data_id"].tolist() == kept
    assert np.isfinite(table["score"]).all()
    assert asked <= set(kept)
    assert inputs["selection"] == before.manifest.data_digest


def test_scores_of_windows_that_are_left_must_be_there_and_no_others(stores):
    kept = [stores.ids[0], stores.ids[3]]
    method = SELECTION_METHODS["longattn"]()
    path = stores.path("attention", "00001")
    table, manifest = read_table(path, "attention_scores")

    def store(ids):
        rows = [row for row in table.to_pylist() if row["data_id"] in ids]
        write_table(path, "attention_scores", rows, settings={}, tokenizer=manifest.tokenizer)

    store(kept)
    assert len(score_windows(method, stores.tables(method), before=earlier(stores, kept))[0]) == 2
    with pytest.raises(ValueError, match=r"scores cover 4 of 5 windows; first missing: books-00001_0000002"):
        score_windows(method, stores.tables(method))
    store([stores.ids[4]])
    with pytest.raises(ValueError, match=r"scores cover 1 of 2 windows; first missing: books-00001_0000001"):
        score_windows(method, stores.tables(method), before=earlier(stores, kept))


def test_a_stage_over_other_windows_or_of_none_is_refused(stores):
    method = SELECTION_METHODS["random"]()
    before = earlier(stores, stores.ids[:1], windows="others")
    with pytest.raises(ValueError, match="was made with another windows of shard 00000"):
        score_windows(method, stores.tables(method), seed=1, before=before)
    path = stores.path("selections", "first")
    with refused(
        f"{path} keeps no window, so the stage behind it has none to choose from; keep more in stage 2"
    ):
        earlier(stores, [], stage=2)


def test_three_stages_give_one_order_of_all_windows():
    draw = np.random.default_rng()
    ids = [f"w{number:02}" for number in range(40)]
    category = pd.Series(draw.choice(["a", "b"], 40), index=ids)
    before, counts = None, [40]
    for stage, keep in enumerate(({"ratio": 0.5}, {"windows": 9}, {"ratio": 0.4}), 1):
        left = ids if before is None else before["data_id"][before["kept"]].tolist()
        score = draw.normal(size=len(left))
        chosen = selection_table(left, score, keep=keep, category=category[left])
        before = stage_table(chosen, stage=stage, method="m", before=before)
        counts.append(int(before["kept"].sum()))
        assert before["data_id"].tolist() == ids
        assert before["category"].tolist() == category[ids].tolist()
        found = before.set_index("data_id")
        # The stage's own scores and order, and those that fell before behind them.
        np.testing.assert_array_equal(found["score"][left].astype(float), score)
        assert found["score"].drop(left).isna().all()
        assert found["rank"][left].tolist() == chosen["rank"].tolist()
        assert sorted(before["rank"]) == list(range(1, 41))
        for _, group in before.sort_values("rank").groupby("category"):
            beaten = np.arange(len(group), 0, -1)
            np.testing.assert_allclose(group["percentile"], 100 * beaten / len(group))
    fell = before["reason"].str.extract(r"^(\w+) at stage (\d) \(m\): place \d+ in ")
    assert fell.value_counts().to_dict() == {
        ("dropped", "1"): counts[0] - counts[1],
        ("dropped", "2"): counts[1] - counts[2],
        ("dropped", "3"): counts[2] - counts[3],
        ("kept", "3"): counts[3],
    }
