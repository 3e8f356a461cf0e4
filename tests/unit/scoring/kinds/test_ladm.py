from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from llama3_8b import SHAPE
from longspan.costs.shape import DecoderShape
from longspan.scoring.decoder_attention import ATTENTIONS
from longspan.scoring.kinds.attention import Attention
from longspan.scoring.kinds.ladm import Ladm
from refusals import refused
from span_reference import dense_span_attention, naive_paper_score, naive_released_score, spans_of_matrix

torch.set_num_threads(1)
SHAPE_8B = DecoderShape.of(SHAPE)
SCORING = {"window_tokens": 32768, "dtype": "bfloat16", "device_flops": 798e12, "compile_layers": True}
SMALL = {"span_tokens": 4, "near_spans": 2}
FORWARD = {"dtype": "float32", "rope_theta": None, "compile_layers": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    return path


def windows(number=3, tokens=80):
    generator = torch.Generator().manual_seed(5)
    return [
        (f"w{row}", torch.randint(64, (tokens,), generator=generator, dtype=torch.int32).numpy())
        for row in range(number)
    ]


def scores(folder, **options):
    scorer = Ladm(**(SMALL | options))
    forward = FORWARD if scorer.first_layer_only else FORWARD | {"attention": "sdpa"}
    found = list(scorer.load(folder, SimpleNamespace(), forward=forward)(iter(windows())))
    assert [set(row) for row in found] == [{"layer_scores"}] * 3
    return [row["layer_scores"] for row in found]


def eager_attentions(folder, input_ids_T):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor(input_ids_T[None]).long(), output_attentions=True).attentions


@pytest.mark.parametrize("layers", [[0], [2, 1], "all"])
def test_paper_scores_are_those_of_eager_attention(folder, layers):
    found = scores(folder, layers=layers, first_span=6)
    for (_, input_ids_T), layer_scores in zip(windows(), found, strict=True):
        attentions = eager_attentions(folder, input_ids_T)
        wanted = range(3) if layers == "all" else sorted(layers)
        expected = [
            naive_paper_score(spans_of_matrix(attentions[layer], 4, range(20))[0].tolist(), 1, 2, 6)
            for layer in wanted
        ]
        assert layer_scores == pytest.approx(expected, rel=1e-3)


def test_released_scores_leave_the_own_span_out_of_the_softmax(folder):
    (row, *_), (window, *_) = scores(folder, mode="released"), windows()
    from longspan.scoring.first_layer import load_first_layer

    layer = load_first_layer(folder, **FORWARD).queries_keys(torch.tensor(window[1][None]).long())
    pfs = dense_span_attention(layer.q, layer.k, 4, range(20), own_span=False, scale=layer.scale)
    assert row == pytest.approx([naive_released_score(pfs[0].tolist(), 1, 2)], rel=1e-3)
    assert row != pytest.approx(scores(folder, first_span=9)[0], rel=0.1)


def test_attention_that_is_not_finite_names_window_and_layer(folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight.fill_(1e38)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="not finite in window w0, layer 1; try dtype"):
        scores(tmp_path, layers=[0, 1], first_span=6)


def test_layers_beyond_the_model_are_refused(folder):
    with pytest.raises(
        ValueError, match=r"layers 3 are beyond LlamaForCausalLM \(llama\), which has layers 0"
    ):
        scores(folder, layers=[0, 3], first_span=6)
    Ladm(layers=[0, 31]).check_shape(SHAPE_8B)
    Ladm(layers="all").check_shape(SHAPE_8B)
    with refused("layer 32 is beyond its model, which has layers 0 to 31"):
        Ladm(layers=[3, 32]).check_shape(SHAPE_8B)


def test_the_first_layer_alone_depends_on_nothing_behind_it():
    first = Ladm()
    assert first.first_layer_only
    assert first.model_digest == "first_layer_digest"
    assert first.forward_keys == Attention.forward_keys
    for layers in ("all", [1], [0, 1]):
        deeper = Ladm(layers=layers)
        assert not deeper.first_layer_only
        assert deeper.model_digest == "digest"
        assert "attention" in deeper.forward_keys
        assert deeper.attentions == ATTENTIONS
    assert first.attentions is None


@pytest.mark.parametrize(("layers", "count"), [([0], 1), ([0, 1], 2), ("all", 32)])
def test_mode_released_multiplies_a_quarter_of_the_queries(layers, count):
    paper, released = (
        Ladm(layers=layers, mode=mode).needs(SHAPE_8B, 1000, **SCORING).seconds
        for mode in ("paper", "released")
    )
    products = 0.75 * count * 4096 * 32768**2 * 1000
    assert paper - released == pytest.approx(products / (798e12 * 0.66), rel=1e-3)


def test_the_first_layer_costs_what_longattns_statistics_cost():
    ours, theirs = (kind.needs(SHAPE_8B, 1000, **SCORING) for kind in (Ladm(), Attention()))
    assert (ours.seconds, ours.device_bytes) == (theirs.seconds, theirs.device_bytes)
    four = Ladm(layers=[0, 1, 2, 3]).needs(SHAPE_8B, 1000, **SCORING)
    every = Ladm(layers="all").needs(SHAPE_8B, 1000, **SCORING)
    assert ours.seconds < four.seconds < every.seconds < 9 * four.seconds
    assert every.disk_bytes == 1000 * (60 + 8 * 32)
    assert Ladm(layers="all").needs(SHAPE_8B, None, **SCORING).seconds is None


@pytest.mark.parametrize(
    ("options", "window_tokens", "fault"),
    [
        (
            {},
            2000,
            "spans of 128 tokens do not divide a window of 2000; set span_tokens to one of its divisors, 125 "
            "say",
        ),
        (
            {},
            2048,
            "a window of 2048 tokens has 16 spans of 128, and those from span 16 on are scored; lower "
            "span_tokens, near_spans or first_span",
        ),
        (
            {"mode": "released"},
            18 * 128,
            "a window of 2304 tokens has 18 spans of 128, and those from span 18 on are scored; lower "
            "span_tokens, near_spans or first_span",
        ),
        ({"mode": "released", "first_span": 9}, 4096, "first_span is no option of mode released; remove it"),
        (
            {"first_span": 6},
            4096,
            "first_span 6 has fewer than two spans of context; it must be at least skipped_spans + "
            "near_spans + 2 = 7",
        ),
    ],
)
def test_windows_that_cannot_be_scored_are_refused(options, window_tokens, fault):
    Ladm().check_window(17 * 128)
    Ladm(mode="released").check_window(19 * 128)
    with refused(fault):
        Ladm(**options).check_window(window_tokens)
