import torch

from longspan.scoring.nll import long_context_nll, short_context_nll
from longspan.scoring.self_scoring import SelfScoring, self_scored_nll
from tiny_models import random_ids, tiny_model

SCORING = SelfScoring(base_length=16, base_stride=8, windows_per_batch=2)


def test_self_scores_are_the_frozen_scores_of_the_same_model():
    model, ids = tiny_model("llama"), random_ids(2, 40)
    scored = self_scored_nll(model, ids, long_context_nll(model, ids), SCORING)
    frozen = short_context_nll(model, ids, base_length=16, base_stride=8)
    torch.testing.assert_close(scored, frozen, rtol=1e-5, atol=1e-5)


def test_exactly_the_first_windows_entries_come_from_the_long_pass():
    # The released code overwrites one entry too many: that of token base_length.
    model, ids = tiny_model("llama"), random_ids(2, 40)
    scored = self_scored_nll(model, ids, torch.full((2, 39), -7.0), SCORING)
    assert (scored[:, :15] == -7.0).all()
    assert (scored[:, 15:] > 0).all()


def test_scores_carry_no_gradient():
    model, ids = tiny_model("llama"), random_ids(1, 40)
    long_nll = torch.ones(1, 39, requires_grad=True)
    assert not self_scored_nll(model, ids, long_nll, SCORING).requires_grad
