import transformers

from longspan.resources import training_memory_bytes

LLAMA_8B = transformers.LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
STATES = 16 * 8.03e9


def estimate(**options):
    return training_memory_bytes(LLAMA_8B, 32768, **options)


def test_states_of_training_are_shared_by_shards_and_repeated_by_replicas():
    one, two, four = (estimate(processes=count, sharding="full") for count in (1, 2, 4))
    assert one - two == 2 * (two - four)
    assert abs((one - two) / (STATES / 2) - 1) < 1e-3
    assert estimate(processes=2) > estimate() > STATES
    assert estimate(processes=2, sharding="full", cpu_offload=True) < two - STATES / 2 + 1e8


def test_what_is_kept_for_the_backward_pass_is_counted():
    options = {"processes": 2, "sharding": "full"}
    kept = estimate(**options, keep_attention=True) - estimate(**options)
    assert kept == 32 * 32768 * 4096 * 2
    assert estimate(**options, gradient_checkpointing=False) > 2 * estimate(**options)
    assert training_memory_bytes(LLAMA_8B, 65536, **options) > estimate(**options)
