import pytest
from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig

from longspan.models.rope import set_rope_theta
from refusals import refused


def test_the_base_is_set_and_the_rest_left_alone():
    scaling = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    config = LlamaConfig(rope_parameters=dict(scaling))
    set_rope_theta(config, 500_000)
    assert config.rope_parameters == scaling | {"rope_theta": 5e5}


def test_the_base_is_set_for_every_type_of_layer():
    config = Gemma3TextConfig()
    set_rope_theta(config, 2.5e6)
    assert {kind: values["rope_theta"] for kind, values in config.rope_parameters.items()} == {
        "sliding_attention": 2.5e6,
        "full_attention": 2.5e6,
    }


@pytest.mark.parametrize("config", [GPT2Config()])
def test_a_model_without_rotary_embedding_is_refused(config):
    with refused("rope_theta is set, but gpt2 has no rotary embedding"):
        set_rope_theta(config, 1e6)
