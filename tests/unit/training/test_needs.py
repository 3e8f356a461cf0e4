import pytest
import transformers

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.training.needs import training_memory_bytes, training_needs

LLAMA_8B = transformers.LlamaConfig(**SHAPE)
# Tied weights and heads of 64.
LLAMA_1B = transformers.LlamaConfig(
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    tie_word_embeddings=True,
)


def estimate(layers=32, **options):
    config = transformers.LlamaConfig(**LLAMA_8B.to_dict() | {"num_hidden_layers": layers})
    return training_memory_bytes(config, 32768, **options)


@pytest.mark.parametrize(
    ("layers", "keep_attention", "measured_gb"), [(32, True, 76.8), (32, False, 72.4), (2, True, 20.9)]
)
def test_the_estimate_is_near_what_two_h200_needed(layers, keep_attention, measured_gb):
    found = estimate(layers, processes=2, sharding="full", keep_attention=keep_attention)
    assert found == pytest.approx(measured_gb * 1e9, rel=0.15)


def test_the_estimate_is_near_what_replicas_and_offloaded_shards_needed():
    replicas = training_memory_bytes(LLAMA_1B, 32768, processes=2, keep_attention=True)
    assert replicas == pytest.approx(31.4e9, rel=0.15)
    offloaded = estimate(8, processes=2, sharding="full", cpu_offload=True, keep_attention=True)
    assert offloaded == pytest.approx(15.2e9, rel=0.15)


def test_states_of_training_are_shared_by_shards_and_repeated_by_replicas():
    states = 12 * 8.03e9
    one, two, four = (estimate(processes=count, sharding="full") for count in (1, 2, 4))
    assert one - two >= states / 2
    assert two - four >= states / 4
    assert estimate(processes=2) > estimate() > states
    assert estimate(processes=2, sharding="full", cpu_offload=True) < two - states / 2 + 1e8


def test_what_is_kept_for_the_backward_pass_is_counted():
    options = {"processes": 2, "sharding": "full"}
    kept = estimate(**options, keep_attention=True) - estimate(**options)
    assert 0 < kept <= 32 * 32768 * 4096 * 2
    options["processes"] = 8  # whose share of the gradients is no longer the most
    of_layers = [estimate(**options, keep_attention=layers) for layers in (16, 24, 32)]
    assert of_layers == sorted(set(of_layers))
    assert of_layers[-1] == estimate(**options, keep_attention=True)
    assert estimate(**options, keep_attention=True, mlp_tokens=4096) < of_layers[-1]
    assert estimate(**options, gradient_checkpointing=False) > 2 * estimate(**options)
    assert training_memory_bytes(LLAMA_8B, 65536, **options) > estimate(**options)


PEAK = 798e12
SHAPE_8B = DecoderShape.of(LLAMA_8B.to_dict())
TRAIN_8B = {
    "devices": 2,
    "nodes": 1,
    "sharding": "full",
    "cpu_offload": False,
    "bf16": True,
    "gradient_checkpointing": True,
    "keep_attention": True,
    "mlp_tokens": None,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_steps": 1000,
    "save_steps": 1000,
}


def seconds_an_update(self_scoring=None, **changed):
    needs = [
        training_needs(
            SHAPE_8B,
            window_tokens=32768,
            self_scoring=self_scoring,
            train=TRAIN_8B | changed | {"max_steps": steps},
            device_flops=PEAK,
        )
        for steps in (1, 2)
    ]
    return needs[1].seconds - needs[0].seconds


def test_updates_are_near_what_two_h200_needed():
    scoring = {"base_length": 8192, "base_stride": 6144}
    assert seconds_an_update() == pytest.approx(5.104, rel=0.02)
    assert seconds_an_update(keep_attention=False) == pytest.approx(5.726, rel=0.02)
    assert seconds_an_update(scoring) == pytest.approx(6.061, rel=0.06)


def test_a_training_holds_its_weights_on_the_host_and_its_checkpoints_on_disk():
    def needs(**changed):
        train = TRAIN_8B | changed
        return training_needs(
            SHAPE_8B, window_tokens=32768, self_scoring=None, train=train, device_flops=PEAK
        )

    weights = 4 * SHAPE_8B.parameters
    assert needs(sharding="none").host_bytes == needs().host_bytes + weights > 3 * weights
    assert needs(nodes=2).host_bytes == needs().host_bytes
    assert needs(cpu_offload=True).host_bytes == needs().host_bytes + 4 * weights
    # The result and the last update's checkpoint, which has the moments too where it is of shards.
    assert needs().disk_bytes == 4 * weights
    assert needs(sharding="none").disk_bytes == 2 * weights
    assert needs(save_steps=40).disk_bytes == weights + 2 * 3 * weights
    assert needs().device_seconds == 2 * needs().seconds
    assert needs(nodes=2).device_seconds == 4 * needs().seconds


def test_float32_takes_longer():
    assert seconds_an_update(bf16=False) > 5 * seconds_an_update()
