import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from longspan.scoring.nll import short_context_nll
from longspan.scoring.self_scoring import SelfScoring
from longspan.weighting.loss import WeightedLM, weighted_loss
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import weighting_from_settings
from longspan.weighting.weights import shuffled_weights, token_weights
from tiny_models import ARCHITECTURES, random_ids, tiny_model

SCORING = SelfScoring(base_length=16, base_stride=8)
DENSE = weighting_from_settings({"variant": "dense"})
LOSSES = {
    "plain": weighting_from_settings({"variant": "plain"}),
    "dense": DENSE,
    "sparse": weighting_from_settings({"variant": "sparse", "sparsification": 0.3}),
    "longce": weighting_from_settings({"variant": "longce"}),
    "ppmi": weighting_from_settings({"variant": "ppmi", "sparsification": 0.3}),
    "npmi": weighting_from_settings({"variant": "npmi", "sparsification": 0.3}),
}


def gradients(module, *batches, **shared):
    """Sum the gradients of batches, as an accumulating optimizer sees them."""
    module.zero_grad()
    for batch in batches:
        module(**batch, **shared)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def naive_gradients(model, ids, weights):
    model.zero_grad()
    logits = model(input_ids=ids).logits.double()
    nll = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    (weights.flatten() * nll).mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_weighted_loss_is_a_sum_over_num_items():
    nll, weights = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 3.0]])
    assert weighted_loss(nll, weights, 4).item() == 6.5 / 4
    assert weighted_loss(nll, None, torch.tensor(2)).item() == 1.5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_equals_full_logits(architecture):
    model, ids = tiny_model(architecture), random_ids(2, 24)
    weights = torch.rand(2, 23) * 2
    expected = naive_gradients(model, ids, weights)
    actual = gradients(WeightedLM(model), {"input_ids": ids, "token_weights": weights})
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("frozen", [True, False])
def test_every_loss_equals_its_parts(loss, frozen):
    weighting = LOSSES[loss]
    model, ids, names = tiny_model("llama"), random_ids(2, 40), ["a", "b"]
    short_nll = short_context_nll(model, ids, base_length=16, base_stride=8)
    scoring = None if frozen or weighting.is_plain else SCORING
    module = WeightedLM(model, weighting, self_scoring=scoring, seed=3)
    batch = {"input_ids": ids, "sequence_ids": names}
    if frozen and not weighting.is_plain:
        batch["short_nll"] = short_nll.half().float()
    output = module(**batch)
    compared = batch.get("short_nll", short_nll).clone()
    if not frozen:
        compared[:, :15] = output["nll"][:, :15]
    weights = token_weights(output["nll"], compared, **asdict(weighting), seed=3, sequence_ids=names)
    torch.testing.assert_close(output["loss"], (weights * output["nll"]).mean())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("loss", ["plain", "dense", "npmi"])
def test_accumulation_and_batch_splits_equal_one_big_batch(loss, frozen):
    weighting = LOSSES[loss]
    model, ids = tiny_model("llama"), random_ids(4, 40)
    batch = {"input_ids": ids, "sequence_ids": list("abcd"), "labels": ids.clone()}
    batch["labels"][1, 7] = -100
    if frozen and not weighting.is_plain:
        batch["short_nll"] = short_context_nll(tiny_model("qwen2"), ids, base_length=16, base_stride=8)
    module = WeightedLM(model, weighting, self_scoring=None if frozen or weighting.is_plain else SCORING)
    whole = gradients(module, batch)
    for cuts in ([1, 1, 1, 1], [3, 1], [2, 2]):
        stops = torch.tensor(cuts).cumsum(0).tolist()
        parts = [
            {k: v[stop - cut : stop] for k, v in batch.items()} for cut, stop in zip(cuts, stops, strict=True)
        ]
        split = gradients(module, *parts, num_items_in_batch=4 * 39 - 1)
        torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def stored_gradients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    script = Path(__file__).with_name("data_parallel_gradients.py")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder), str(rank)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return torch.load(folder / "gradients.pt")


@pytest.mark.parametrize("wrapper", ["ddp", "fsdp2"])
@pytest.mark.parametrize("scores", ["frozen", "self_scoring"])
def test_two_processes_equal_one(stored_gradients, wrapper, scores):
    stored = stored_gradients[wrapper, scores]
    torch.testing.assert_close(stored["two"], stored["one"], rtol=1e-4, atol=1e-6)


def test_labels_only_say_which_tokens_count():
    model, ids = tiny_model("llama"), random_ids(1, 20)
    labels = ids.clone()
    labels[0, 5] = -100
    module = WeightedLM(model, LOSSES["plain"])
    whole, masked = module(ids), module(ids, labels)
    assert masked["nll"][0, 4] == 0
    torch.testing.assert_close(masked["loss"], (whole["nll"].sum() - whole["nll"][0, 4]) / 18)


def test_a_stored_long_nll_replaces_that_of_the_pass():
    model, ids = tiny_model("llama"), random_ids(1, 20)
    short_nll = torch.rand(1, 19)
    same = WeightedLM(model, DENSE)(ids, short_nll=short_nll, long_nll=short_nll)
    plain = WeightedLM(model, LOSSES["plain"])(ids)
    assert torch.equal(same["loss"], plain["loss"])


def test_lambda_one_is_plain_cross_entropy_to_the_bit():
    model, ids = tiny_model("llama"), random_ids(2, 20)
    batch = {"input_ids": ids}
    plain = gradients(WeightedLM(model, LOSSES["plain"]), batch)
    ones = gradients(WeightedLM(model), batch | {"token_weights": torch.ones(2, 19)})
    everything = Weighting(transforms=("absolute",), normalization="L1", sparsification=1.0)
    kappa_one = gradients(WeightedLM(model, everything), batch | {"short_nll": torch.rand(2, 19)})
    assert torch.equal(plain, ones)
    assert torch.equal(plain, kappa_one)


@pytest.mark.parametrize(
    ("weighting", "scoring", "batch", "message"),
    [
        (None, None, {}, "token_weights missing"),
        (DENSE, None, {"token_weights": torch.ones(1, 19)}, "token_weights given"),
        (DENSE, None, {}, "short_nll missing"),
        (DENSE, SCORING, {"short_nll": torch.ones(1, 19)}, "short_nll given"),
    ],
)
def test_a_batch_must_bring_what_the_loss_needs(weighting, scoring, batch, message):
    module = WeightedLM(tiny_model("llama"), weighting, self_scoring=scoring)
    with pytest.raises(ValueError, match=message):
        module(random_ids(1, 20), **batch)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_control_learns_from_the_same_weights_elsewhere(frozen):
    model, ids, names = tiny_model("llama"), random_ids(2, 40), ["a", "b"]
    labels = ids.clone()
    labels[1, 9] = -100
    batch = {"input_ids": ids, "labels": labels, "sequence_ids": names}
    if frozen:
        batch["short_nll"] = torch.rand(2, 39) * 5
    scoring = None if frozen else SCORING
    loss, control = (
        WeightedLM(model, DENSE, self_scoring=scoring, shuffle_weights=shuffled, seed=3)(**batch)
        for shuffled in (False, True)
    )
    counted = labels[:, 1:] != -100
    expected = shuffled_weights(loss["weights"], seed=3, sequence_ids=names, counted=counted)
    assert torch.equal(control["weights"], expected)
    assert torch.equal(control["weights"].sort(1).values, loss["weights"].sort(1).values)
    assert not torch.equal(control["weights"], loss["weights"])
    nll = loss["nll"]
    torch.testing.assert_close(control["loss"], (expected * nll)[counted].sum() / counted.sum())


def test_a_control_without_ids_or_weights_is_refused():
    model, ids = tiny_model("llama"), random_ids(1, 20)
    with pytest.raises(ValueError, match="sequence_ids are missing"):
        WeightedLM(model, DENSE, shuffle_weights=True)(ids, short_nll=torch.rand(1, 19))
    for weighting in (LOSSES["plain"], None):
        with pytest.raises(ValueError, match="shuffle_weights is set, but without a weighting"):
            WeightedLM(model, weighting, shuffle_weights=True)


def test_self_scoring_that_nothing_uses_is_refused():
    with pytest.raises(ValueError, match="no score is used"):
        WeightedLM(tiny_model("llama"), LOSSES["plain"], self_scoring=SCORING)


def test_gradient_checkpointing_changes_nothing():
    model, ids = tiny_model("llama").train(), random_ids(2, 40)
    module = WeightedLM(model, DENSE, self_scoring=SCORING)
    plain = gradients(module, {"input_ids": ids})
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(gradients(module, {"input_ids": ids}), plain, rtol=1e-5, atol=1e-7)
