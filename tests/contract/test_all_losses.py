"""The tiny run under all six losses, with frozen scores and with its own."""

import copy

import numpy as np
import pytest
import yaml

from longspan.store.tables import read_table
from tiny_chain import ROOT, TINY, Chain

SIX = yaml.safe_load((ROOT / "configs" / "all-losses.yaml").read_text())["losses"]
SELF_SCORING = {"base_length": 32, "base_stride": 24}


def settings():
    """The tiny run's, with the six losses of the default's shape and five of them self-scoring."""
    found = copy.deepcopy(TINY)
    found["losses"] = {name: loss | {"scorer": "tiny-32"} for name, loss in SIX.items()}
    del found["losses"]["plain"]["scorer"]
    for name, loss in SIX.items():
        if name != "plain":
            parts = {key: value for key, value in loss.items() if key != "scorer"}
            found["losses"][f"{name}-self"] = parts | {"self_scoring": SELF_SCORING}
    found["runs"]["main"]["loss"] = list(found["losses"])
    return found


def test_all_six_losses_train_frozen_and_self_scoring_to_the_report(chain):
    before = chain.path("scores").read_bytes()
    config = settings()
    every = Chain(config)
    metrics, models = {}, {}
    for loss in config["losses"]:
        every.make("train", loss=loss)
        every.make("evaluate", trained=f"{loss}/seed0")
        run = every.path("run", loss=loss)
        metrics[loss] = read_table(run / "metrics.parquet", "training_metrics")[0].to_pandas()
        models[loss] = (run / "model/model.safetensors").read_bytes()
    assert chain.path("scores").read_bytes() == before
    assert len(metrics) == 11
    assert len(set(models.values())) == 11
    plain = metrics["plain"]
    first = {loss: table.iloc[0] for loss, table in metrics.items()}
    for loss, table in metrics.items():
        assert len(table) == 4
        assert np.isfinite(table.to_numpy(np.float64)).all()
        # The same window and the same model, whatever weighs its tokens.
        assert first[loss]["loss_unweighted"] == pytest.approx(plain["loss_unweighted"][0], rel=1e-6)
    assert plain["loss_weighted"].to_numpy() == pytest.approx(plain["loss_unweighted"].to_numpy(), rel=1e-6)
    for loss in SIX.keys() - {"plain"}:
        # At first the model that trains is the frozen scorer; a store holds about three digits.
        frozen, own = first[loss]["loss_weighted"], first[f"{loss}-self"]["loss_weighted"]
        assert own == pytest.approx(frozen, rel=1e-3)
        assert frozen != pytest.approx(plain["loss_weighted"][0], rel=1e-3)
        if loss != "longce":
            assert metrics[loss]["weight_mean"].to_numpy() == pytest.approx(1, rel=1e-6)

    every.make("compare_models")
    every.make("summarize_results")
    every.make("draw_figures")
    names = [line.split("\t")[:2] for line in every.path("summary_table").read_text().splitlines()]
    trained = {f"main/{loss}/seed0" for loss in metrics}
    for quantity in ("training loss", "held-out perplexity"):
        assert {name for kind, name in names if kind == quantity} == trained
