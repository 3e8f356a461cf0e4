import numpy as np
import pytest
import torch

from longspan.scoring.segment_pairs import sampled_pairs, segment_nll
from refusals import refused
from tiny_models import random_ids, tiny_model

torch.set_num_threads(1)


def test_pairs_are_drawn_by_the_windows_id():
    pairs = sampled_pairs("books-00000_0000001", 40, 100)
    assert pairs.shape == (100, 2)
    assert len({tuple(pair) for pair in pairs.tolist()}) == 100
    assert (pairs[:, 0] > pairs[:, 1]).all()
    assert pairs.min() >= 0
    assert pairs.max() < 40
    assert pairs.tolist() == sorted(pairs.tolist()) == sampled_pairs("books-00000_0000001", 40, 100).tolist()
    assert pairs.tolist() != sampled_pairs("books-00000_0000002", 40, 100).tolist()
    every = [[later, earlier] for later in range(6) for earlier in range(later)]
    assert sampled_pairs("a", 6, 15).tolist() == sampled_pairs("a", 6, 500).tolist() == every
    assert len({tuple(pair) for pair in sampled_pairs("a", 6, 14).tolist()}) == 14


def test_every_pair_is_as_likely():
    counts = np.zeros((7, 7))
    for number in range(3000):
        later, earlier = sampled_pairs(f"w{number}", 7, 5).T
        counts[later, earlier] += 1
    drawn = counts[np.tril_indices(7, -1)]
    # 3000 draws of 5 in 21: 714 of each, with a standard deviation of 23.
    assert drawn.sum() == 15000
    assert abs(drawn - 15000 / 21).max() < 120
    assert counts[np.triu_indices(7)].sum() == 0


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_nlls_are_those_of_the_models_own_logits(architecture):
    model = tiny_model(architecture, torch.float64)
    ids = random_ids(1, 60, seed=3)[0]
    pairs = sampled_pairs("a", 5, 7)

    def own_nll(sequence, last):
        with torch.no_grad():
            logits = model(torch.tensor([sequence])).logits[0].double()
        tokens = range(len(sequence) - last, len(sequence))
        log_p = logits.log_softmax(-1)
        return float(np.mean([-log_p[position - 1, sequence[position]].item() for position in tokens]))

    segments = [ids[start : start + 12].tolist() for start in range(0, 60, 12)]
    expected_alone = [own_nll(segment, 11) for segment in segments]
    expected_after = [own_nll(segments[j] + segments[i], 11) for i, j in pairs]
    for batch in (1, 3, 100):
        alone, after = segment_nll(model, ids, pairs, segment_tokens=12, pairs_per_batch=batch)
        assert alone.dtype == after.dtype == torch.float32
        np.testing.assert_allclose(alone, expected_alone, rtol=1e-5)
        np.testing.assert_allclose(after, expected_after, rtol=1e-5)


def test_segments_that_do_not_divide_the_window_are_refused():
    with refused("segments of 7 tokens do not divide a window of 60"):
        segment_nll(tiny_model("llama"), random_ids(1, 60)[0], sampled_pairs("a", 8, 3), segment_tokens=7)
