"""Stored scores of a tiny model. Write them anew: ``python tests/golden/test_short_scores.py``."""

import json
from pathlib import Path

import torch
import transformers

from longspan.short_scores import STAGE_VERSION, long_context_nll, short_context_nll

STORED = Path(__file__).with_name("short_scores.json")


def scored():
    """Score with weights that come from a formula: no generator, so no version of one, is in the numbers."""
    config = transformers.LlamaConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64).view(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(0.4 * torch.sin(1.7 * steps * (1 + k) + k))
            else:
                parameter.fill_(1.0)
    ids = torch.arange(80).view(2, 40) ** 2 % 61
    short_nll = short_context_nll(
        model, ids, base_length=16, base_stride=8, bos_token_id=1, windows_per_batch=3
    )
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


if __name__ == "__main__":
    STORED.write_text(json.dumps(scored(), indent=1) + "\n")
