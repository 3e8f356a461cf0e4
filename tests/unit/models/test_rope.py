import copy

import pytest
import torch
from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig, LlamaForCausalLM

from longspan.models.rope import depends_on_length, forget_lengths, set_rope_theta, tokens_of_one_table
from refusals import refused


def test_the_base_is_set_and_the_rest_left_alone():
    scaling = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    config = LlamaConfig(rope_parameters=dict(scaling))
    set_rope_theta(config, 500_000)
    assert config.rope_parameters == scaling | {"rope_theta": 5e5}


def test_a_sliding_layers_own_base_is_left_alone():
    config = Gemma3TextConfig()
    own = config.rope_parameters["sliding_attention"]["rope_theta"]
    set_rope_theta(config, 2.5e6)
    assert {kind: values["rope_theta"] for kind, values in config.rope_parameters.items()} == {
        "sliding_attention": own,
        "full_attention": 2.5e6,
    }


def test_a_model_that_rotates_in_sliding_windows_alone_is_refused():
    config = Gemma3TextConfig()
    config.rope_parameters = {"sliding_attention": config.rope_parameters["sliding_attention"]}
    with refused("rope_theta is set, but gemma3_text has rotary embeddings in sliding windows alone"):
        set_rope_theta(config, 1e6)


def rotated(model, tokens):
    with torch.no_grad():
        return model(torch.arange(tokens)[None] % 61).logits[0, :8]


def test_dynamic_scaling_depends_on_no_earlier_sequence():
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    sizes = {"vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "max_position_embeddings": 16}
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, **heads, rope_parameters=rope)
    forgetful = LlamaForCausalLM(config).eval()
    torch.nn.init.normal_(forgetful.model.layers[0].self_attn.q_proj.weight, std=1.0)
    remembering = copy.deepcopy(forgetful)
    forget_lengths(forgetful)
    fresh = {tokens: rotated(copy.deepcopy(remembering), tokens) for tokens in (8, 24, 60)}
    for tokens in (24, 60, 24, 8, 60, 8, 24):
        assert torch.equal(rotated(forgetful, tokens), fresh[tokens])
    rotated(remembering, 60)
    assert not torch.equal(rotated(remembering, 24), fresh[24])


@pytest.mark.parametrize(
    ("rope", "tokens"),
    [
        ({"rope_type": "default"}, None),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, None),
        ({"rope_type": "dynamic", "factor": 4.0}, 64),
        ({"rope_type": "longrope", "original_max_position_embeddings": 16}, 16),
        ({"rope_type": "one of tomorrow"}, 0),
    ],
)
def test_lengths_up_to_which_all_sequences_have_one_table(rope, tokens):
    config = LlamaConfig(max_position_embeddings=64)
    config.rope_parameters = rope | {"rope_theta": 1e4}
    assert tokens_of_one_table(config) == tokens
    assert depends_on_length(config) == (tokens is not None)


@pytest.mark.parametrize("config", [GPT2Config()])
def test_a_model_without_rotary_embedding_is_refused(config):
    with refused("rope_theta is set, but gpt2 has no rotary embedding"):
        set_rope_theta(config, 1e6)
