import re
from pathlib import Path

import pytest
import transformers

from llama3_8b import SHAPE
from longspan.costs.needs import (
    ATTENTION_BYTES,
    NLL_BYTES,
    TEXT_STAGES,
    DecoderShape,
    evaluation_needs,
    requested_minutes,
    score_attention_needs,
    score_short_needs,
    training_memory_bytes,
    training_needs,
)
from longspan.training.flops import forward_flops
from refusals import refused

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
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": PEAK}
SHORT = {"base_length": 8192, "base_stride": 6144, "windows_per_batch": 5, "store_long": False}
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


def seconds_a_window(needs_of, **options):
    """Without the start, which all windows share."""
    return needs_of(SHAPE_8B, 2, **options).seconds - needs_of(SHAPE_8B, 1, **options).seconds


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


def test_short_scoring_is_near_what_one_h100_needed():
    assert seconds_a_window(score_short_needs, **SCORING, **SHORT, compile_layers=True) == pytest.approx(
        1.125, rel=0.02
    )
    needs = score_short_needs(SHAPE_8B, 1, **SCORING, **SHORT, compile_layers=True)
    assert needs.device_bytes == pytest.approx(19.8e9, rel=0.02)
    assert needs.host_bytes > 2 * SHAPE_8B.parameters == pytest.approx(16.06e9, rel=0.01)


def test_the_long_nll_costs_time_memory_and_disk():
    options = SCORING | SHORT | {"compile_layers": True, "windows_per_batch": 1}
    short, both = (score_short_needs(SHAPE_8B, 8, **options | {"store_long": long}) for long in (False, True))
    alone = evaluation_needs(SHAPE_8B, 8, **SCORING, compile_layers=True)
    assert both.device_bytes == alone.device_bytes > short.device_bytes
    assert both.disk_bytes == 2 * short.disk_bytes
    assert max(short.seconds, alone.seconds) < both.seconds < short.seconds + alone.seconds


def test_attention_statistics_are_near_what_one_h100_needed():
    assert seconds_a_window(score_attention_needs, **SCORING) == pytest.approx(32768 / 2.99e6, rel=0.02)
    assert score_attention_needs(SHAPE_8B, 1, **SCORING).device_bytes == pytest.approx(2.2e9, rel=0.05)


def test_updates_are_near_what_two_h200_needed():
    scoring = {"base_length": 8192, "base_stride": 6144}
    assert seconds_an_update() == pytest.approx(5.104, rel=0.02)
    assert seconds_an_update(keep_attention=False) == pytest.approx(5.726, rel=0.02)
    assert seconds_an_update(scoring) == pytest.approx(6.061, rel=0.06)


def test_float32_takes_longer_and_more_memory():
    for needs_of, options in (
        (score_attention_needs, SCORING),
        (evaluation_needs, SCORING | {"compile_layers": False}),
    ):
        half, full = (
            needs_of(SHAPE_8B, 20_000, **options | {"dtype": name}) for name in ("float16", "float32")
        )
        assert full.seconds > 5 * half.seconds
        assert full.device_bytes == pytest.approx(2 * half.device_bytes, rel=0.01)
    assert seconds_an_update(bf16=False) > 5 * seconds_an_update()


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


def test_bytes_a_token_are_those_of_the_page():
    page = (Path(__file__).parents[3] / "docs" / "disk.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| ([0-9.]+) \|$", page, re.MULTILINE))
    measured = {name: float(value) for name, value in rows.items()}
    assert TEXT_STAGES["read_documents"].token_bytes == measured["texts"]
    ids = measured["token ids, once"] + measured["offsets, as differences"]
    assert TEXT_STAGES["tokenize_documents"].token_bytes == pytest.approx(ids)
    assert TEXT_STAGES["assign_windows"].token_bytes == measured["windows, as spans"]
    assert measured["LongAttn's statistics"] == ATTENTION_BYTES
    both = measured["short and long NLL in fp16, of scored windows"]
    assert pytest.approx(both, rel=0.01) == 2 * NLL_BYTES


def test_collecting_ten_thousand_windows_is_near_what_was_measured():
    none, many = (TEXT_STAGES["collect_weights"].needs(0, windows) for windows in (0, 10_000))
    assert many.host_bytes - none.host_bytes == pytest.approx(0.14e9, rel=0.05)
    assert many.seconds == pytest.approx(1.8, rel=0.15)


def test_unknown_tokens_give_no_time():
    for stage in TEXT_STAGES.values():
        assert stage.needs(None).seconds is None
    assert score_attention_needs(SHAPE_8B, None, **SCORING).seconds is None
    assert requested_minutes(0) == 60
    assert requested_minutes(3600) == 240
