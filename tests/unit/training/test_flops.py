import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from longspan.scoring.self_scoring import SelfScoring
from longspan.training.flops import forward_flops, peak_flops, training_flops
from tiny_models import random_ids, tiny_model

TOKENS = 48


@pytest.mark.parametrize("architecture", ["llama", "llama_tied", "qwen3"])
def test_a_forward_pass_costs_what_pytorch_counts(architecture):
    model = tiny_model(architecture)
    model.set_attn_implementation("eager")  # whose products are counted
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=random_ids(1, TOKENS), use_cache=False)
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Eager attention computes the square; causal attention is half of it.
    half = 2 * config.num_hidden_layers * config.num_attention_heads * head_size * TOKENS**2
    assert forward_flops(model, [TOKENS]) == counter.get_total_flops() - half


def test_packed_documents_attend_to_themselves_alone():
    model = tiny_model("llama")
    apart = [forward_flops(model, [length]) for length in (7, 25, 16)]
    assert forward_flops(model, [7, 25, 16]) == sum(apart) < forward_flops(model, [TOKENS])


def test_training_is_three_forward_passes_and_self_scoring_adds_its_windows():
    model = tiny_model("llama")
    forward = forward_flops(model, [TOKENS])
    assert training_flops(model, [TOKENS]) == 3 * forward
    # Windows of 16 tokens, each scoring its last 8: four of them after the first.
    added = training_flops(model, [TOKENS], SelfScoring(base_length=16, base_stride=8)) - 3 * forward
    assert added == 4 * forward_flops(model, [16], scored_tokens=8)


def test_the_rate_of_a_cpu_is_not_known():
    assert peak_flops("cpu") is None
