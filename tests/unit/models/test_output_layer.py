import pytest
import torch
from torch import nn

from longspan.models.output_layer import OutputLayer, split_model
from tiny_models import ARCHITECTURES, random_ids, tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoder_and_output_layer_give_the_models_logits(architecture):
    model = tiny_model(architecture)
    decoder, output_layer = split_model(model)
    ids = random_ids(2, 12)
    with torch.no_grad():
        logits = output_layer.logits(decoder(input_ids=ids).last_hidden_state)
        expected = model(input_ids=ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_each_kind_of_head_is_read():
    assert OutputLayer.of(tiny_model("gemma2")).softcap == 2.0
    assert OutputLayer.of(tiny_model("phi")).bias is not None
    assert OutputLayer.of(tiny_model("granite")).logit_scale == 4.0
    assert OutputLayer.of(tiny_model("cohere")).logit_scale == 4.0
    tied = tiny_model("llama_tied")
    assert OutputLayer.of(tied).weight is tied.model.embed_tokens.weight


def test_a_head_that_is_not_linear_is_refused_by_name():
    class LowRankHead(nn.Linear):
        pass

    model = tiny_model("llama")
    model.lm_head = LowRankHead(16, 61)
    with pytest.raises(ValueError, match="LlamaForCausalLM has the output layer LowRankHead"):
        split_model(model)


def test_an_unknown_factor_on_the_logits_is_refused_by_name():
    model = tiny_model("granite")
    model.config.model_type = "granite_next"
    with pytest.raises(ValueError, match=r"GraniteForCausalLM \(model_type 'granite_next'\).*LOGIT_SCALES"):
        split_model(model)


def test_verification_runs_once():
    model = tiny_model("llama")
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    split_model(model)
    split_model(model)
    assert len(calls) == 1


def test_dropout_does_not_disturb_the_verification():
    model = tiny_model("gpt2").train()
    assert split_model(model)[1].logit_scale == 1.0
