"""Stored scores of a tiny model. Write them anew:

PYTHONPATH=workflow:tests python tests/golden/test_short_scores.py
"""

import json
from pathlib import Path

import torch

from longspan.scoring.nll import (
    STAGE_VERSION,
    long_context_nll,
    short_context_nll,
    short_nll_beside_long,
)
from tiny_models import formula_llama

STORED = Path(__file__).with_name("short_scores.json")
SHORT = {"base_length": 16, "base_stride": 8, "bos_token_id": 1, "windows_per_batch": 3}


def scored():
    """NLL of two sequences given short and long contexts."""
    model, ids = formula_llama(), torch.arange(80).view(2, 40) ** 2 % 61
    short_nll = short_context_nll(model, ids, **SHORT)
    return {
        "stage_version": STAGE_VERSION,
        "short_nll": short_nll.tolist(),
        "long_nll": long_context_nll(model, ids).tolist(),
    }


def test_scores_stay_what_they_were():
    stored, now = json.loads(STORED.read_text()), scored()
    moved = [
        name
        for name in ("short_nll", "long_nll")
        if not torch.allclose(torch.tensor(now[name]), torch.tensor(stored[name]), rtol=0, atol=1e-4)
    ]
    if now["stage_version"] == stored["stage_version"]:
        assert not moved, "numbers moved: bump STAGE_VERSION"
    assert now["stage_version"] == stored["stage_version"], f"stored for another version: run {__file__}"


def test_scores_beside_a_long_pass_are_the_stored_ones_too():
    """So a store that holds the first windows of passes of their own stays valid, and may be completed."""
    stored = {name: torch.tensor(value) for name, value in json.loads(STORED.read_text()).items()}
    model, ids = formula_llama(), torch.arange(80).view(2, 40) ** 2 % 61
    short_nll = short_nll_beside_long(model, ids, stored["long_nll"], **SHORT)
    torch.testing.assert_close(short_nll, stored["short_nll"], rtol=0, atol=1e-4)


if __name__ == "__main__":
    STORED.write_text(json.dumps(scored(), indent=1) + "\n")
