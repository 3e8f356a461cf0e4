import transformers

from longspan.costs.shape import DecoderShape
from longspan.training.flops import forward_flops
from longspan.training.needs import training_memory_bytes
from refusals import refused


def test_a_shape_is_that_of_the_model_itself():
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    shape = DecoderShape.of(config.to_dict())
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    assert shape.parameters == matrices
    assert shape.forward_flops(64) == forward_flops(model, [64])
    assert shape.forward_flops(64, 16) == forward_flops(model, [64], 16)
    tied = DecoderShape.of(config.to_dict() | {"tie_word_embeddings": True})
    assert shape.parameters - tied.parameters == 96 * 32
    assert training_memory_bytes(shape, 64) == training_memory_bytes(config, 64)


def test_a_shape_is_read_of_other_names_and_of_a_part_of_the_config():
    names = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": None}
    assert DecoderShape.of(names) == DecoderShape(96, 32, 128, 2, 4, 4, 8)
    assert DecoderShape.of({"text_config": names}) == DecoderShape.of(names)
    with refused("config.json names several experts, and what they need is not estimated"):
        DecoderShape.of(names | {"num_local_experts": 8})
    with refused("config.json has no num_hidden_layers, so what its model needs is not known"):
        DecoderShape.of({name: value for name, value in names.items() if name != "n_layer"})
