from types import SimpleNamespace

import numpy as np
import pytest
import torch

from longspan.evaluation.answers import AnsweringModel
from tiny_models import ARCHITECTURES, VOCABULARY, random_ids, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TOKENIZER = SimpleNamespace(end_ids=frozenset(), decode=lambda ids: " ".join(map(str, ids)))
LENGTHS = ((200, 3), (183, 1), (190, 5), (200, 2))


def pairs():
    return [
        tuple(random_ids(1, tokens, seed=10 * number + part)[0].numpy() for part, tokens in enumerate(pair))
        for number, pair in enumerate(LENGTHS)
    ]


def answering(model, **options):
    return AnsweringModel(model, TOKENIZER, tokens_per_batch=1000, **options)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.15)])
def test_log_likelihoods_are_those_of_float64_on_the_cpu(architecture, dtype, tolerance):
    expected = answering(tiny_model(architecture, torch.float64)).nll(pairs())
    found = answering(tiny_model(architecture, dtype).cuda()).nll(pairs())
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).mean() < tolerance * max(1, np.abs(theirs).mean())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_answers_with_a_cache_are_those_without(architecture):
    model = tiny_model(architecture, torch.float64).cuda()
    prompts, new_tokens = [prompt for prompt, _ in pairs()], [20] * 4
    cached = answering(model, keeps_cache=True).write(prompts, new_tokens)
    assert cached == answering(model, keeps_cache=False).write(prompts, new_tokens)
    on_cpu = answering(tiny_model(architecture, torch.float64)).write(prompts, new_tokens)
    assert [answer.input_ids for answer in cached] == [answer.input_ids for answer in on_cpu]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cache_in_bfloat16_is_seen_to_be_exact_and_gives_likely_tokens(architecture):
    model = tiny_model(architecture, torch.bfloat16).cuda()
    prompt = pairs()[0][0]
    (answer,) = answering(model).write([prompt], [20])
    # Rounding may part two greedy answers; each token is still nearly as likely as the likeliest.
    exact = tiny_model(architecture, torch.float64)
    ids = torch.tensor([[*prompt, *answer.input_ids]])
    with torch.no_grad():
        logits_TV = exact(ids).logits[0, len(prompt) - 1 : -1]
    chosen = logits_TV.gather(1, ids[0, len(prompt) :, None])[:, 0]
    spread = logits_TV.std(1)
    assert ((logits_TV.max(1).values - chosen) / spread < 0.6).all()
    assert max(answer.input_ids) < VOCABULARY
