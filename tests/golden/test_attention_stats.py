"""The stored numbers of the attention statistics; to renew them, run this file."""

import json
from pathlib import Path

import pytest
import torch

from longspan.scoring.attention_statistics import (
    STAGE_VERSION,
    attention_variance,
    dependency_strength,
    far_attention_sums,
)

STORED = Path(__file__).with_name("attention_stats.json")
NUM_TOKENS = 61


def computed():
    # a formula, not a generator: generators may change between versions of torch
    position = torch.arange(4 * NUM_TOKENS * 16, dtype=torch.float64)
    q = (3 * torch.sin(position**1.3)).float().reshape(1, 4, NUM_TOKENS, 16)
    k = torch.cos(position[: 2 * NUM_TOKENS * 16] ** 1.2).float().reshape(1, 2, NUM_TOKENS, 16)
    sums = far_attention_sums(q, k)
    capped = far_attention_sums(q, k, scale=0.3, softcap=4.0, min_distance_tokens=7)
    values = {
        "strength": dependency_strength(sums[0], NUM_TOKENS),
        "variance_block": attention_variance(*sums, NUM_TOKENS),
        "variance_matrix": attention_variance(*sums, NUM_TOKENS, "matrix"),
        "capped_sum_p": capped[0],
        "capped_sum_p2": capped[1],
    }
    return {"stage_version": STAGE_VERSION} | {name: x[0].tolist() for name, x in values.items()}


def test_numbers_move_only_with_the_stage_version():
    stored, now = json.loads(STORED.read_text()), computed()
    assert now.keys() == stored.keys()
    assert now["stage_version"] == stored["stage_version"], f"renew {STORED.name}: python {__file__}"
    for name in now.keys() - {"stage_version"}:
        assert now[name] == pytest.approx(stored[name], rel=1e-5), (
            f"{name}: numbers moved: bump STAGE_VERSION in attention_stats.py, then run python {__file__}"
        )


if __name__ == "__main__":
    STORED.write_text(json.dumps(computed(), indent=1) + "\n")
