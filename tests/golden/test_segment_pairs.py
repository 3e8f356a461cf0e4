"""The stored pairs and NLLs of ProLong's segments, and their score; to renew them:

PYTHONPATH=workflow:tests python tests/golden/test_segment_pairs.py
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longspan.scoring.segment_pairs import STAGE_VERSION, sampled_pairs, segment_nll
from longspan.selection.methods.prolong import segment_pair_score
from tiny_models import formula_llama

STORED = Path(__file__).with_name("segment_pairs.json")


def computed():
    """Pairs of a window's id, NLLs by a model whose weights are from a formula, and the score."""
    ids = torch.arange(80) ** 2 % 61
    pairs_P2 = sampled_pairs("classics-00001_0000042", 8, 12)
    alone_N, after_P = segment_nll(formula_llama(), ids, pairs_P2, segment_tokens=10, pairs_per_batch=5)
    score = segment_pair_score(alone_N.numpy(), *pairs_P2.T, after_P.numpy(), threshold=0.01)
    return {
        "stage_version": STAGE_VERSION,
        "pairs": pairs_P2.tolist(),
        "alone": alone_N.tolist(),
        "after": after_P.tolist(),
        "score": score,
    }


def test_numbers_move_only_with_the_stage_version():
    stored, now = json.loads(STORED.read_text()), computed()
    assert now["stage_version"] == stored["stage_version"], f"stored for another version: run {__file__}"
    moved = f"numbers moved: bump STAGE_VERSION in segment_pairs.py, then run {__file__}"
    assert now["pairs"] == stored["pairs"], moved
    for name in ("alone", "after"):
        np.testing.assert_allclose(now[name], stored[name], rtol=0, atol=1e-4, err_msg=moved)
    assert now["score"] == pytest.approx(stored["score"], rel=1e-2), moved


if __name__ == "__main__":
    STORED.write_text(json.dumps(computed(), indent=1) + "\n")
