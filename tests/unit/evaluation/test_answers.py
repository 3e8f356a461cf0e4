import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from longspan.evaluation.answers import AnsweringModel, NotFiniteError
from tiny_models import ARCHITECTURES, VOCABULARY, random_ids, tiny_model

# Of prompts and answers; no two alike, the longest beyond Gemma's window of 16 tokens.
LENGTHS = ((40, 3), (33, 1), (37, 5), (40, 2))


@dataclasses.dataclass
class Alphabet:
    """A tokenizer of one character a token."""

    end_ids: frozenset = frozenset()
    text: str = "".join(chr(ord("0") + token) for token in range(VOCABULARY))
    model: Path = Path("model")

    def decode(self, ids):
        return "".join(self.text[token] for token in ids)


def pairs(seed=0):
    return [
        tuple(
            random_ids(1, tokens, seed=100 * seed + 10 * number + part)[0].numpy()
            for part, tokens in enumerate(pair)
        )
        for number, pair in enumerate(LENGTHS)
    ]


def answering(model, tokens_per_batch=200, tokenizer=None, **options):
    return AnsweringModel(model, tokenizer or Alphabet(), tokens_per_batch=tokens_per_batch, **options)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-4)])
def test_log_likelihoods_in_batches_are_those_of_each_sequence_alone(architecture, dtype, tolerance):
    # Some architectures compute angles in float32 whatever the weights are.
    model = tiny_model(architecture, dtype)
    for found, (prompt, answer) in zip(answering(model).nll(pairs()), pairs(), strict=True):
        ids_T = torch.from_numpy(np.concatenate([prompt, answer]))
        with torch.no_grad():
            logits_TV = model(ids_T[None]).logits[0].double()
        expected = torch.nn.functional.cross_entropy(logits_TV[:-1], ids_T[1:], reduction="none")
        np.testing.assert_allclose(found, expected[-len(answer) :], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_answers_with_a_cache_are_those_without_and_those_of_each_prompt_alone(architecture):
    model = tiny_model(architecture, torch.float64)
    prompts = [prompt for prompt, _ in pairs(1)]
    new_tokens = [6, 9, 7, 12]
    cached = answering(model, keeps_cache=True).write(prompts, new_tokens)
    assert cached == answering(model, keeps_cache=False).write(prompts, new_tokens)
    alone = answering(model, keeps_cache=True)
    assert cached == [
        alone.write([prompt], [count])[0] for prompt, count in zip(prompts, new_tokens, strict=True)
    ]
    for prompt, answer, count in zip(prompts, cached, new_tokens, strict=True):
        ids = prompt.tolist()
        for _ in range(count):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert list(answer.input_ids) == ids[len(prompt) :]
        assert answer.stop == "length"


def test_whether_a_cache_is_exact_is_seen_on_the_model(monkeypatch, capsys):
    model = tiny_model("llama", torch.float64)
    prompts = [prompt for prompt, _ in pairs()]
    expected = answering(model, keeps_cache=False).write(prompts, [5] * 4)
    decoder = model.base_model
    forward, caching = decoder.forward, []

    def forgetful(*args, past_key_values=None, use_cache=None, **options):
        caching.append(use_cache)
        return forward(*args, use_cache=use_cache, **options)

    assert answering(model).write(prompts, [5] * 4) == expected
    monkeypatch.setattr(decoder, "forward", forgetful)
    assert answering(model).write(prompts, [5] * 4) == expected
    assert not any(caching[-5:])
    assert "keeps no keys and values; each token reads all before it again" in capsys.readouterr().out


_SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24}
OTHER_TYPES = {
    # A state, positions as biases, and windows of 16 tokens; a state is kept under another name.
    "mamba": (lambda: transformers.MambaConfig(**_SIZES, state_size=4), False),
    "bloom": (
        lambda: transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2),
        True,
    ),
    "mistral": (lambda: transformers.MistralConfig(**_SIZES, **_HEADS, sliding_window=16), True),
    "gemma3": (
        lambda: transformers.Gemma3TextConfig(**_SIZES, **_HEADS, head_dim=8, sliding_window=16),
        True,
    ),
}


@pytest.mark.parametrize("name", OTHER_TYPES)
def test_other_types_keep_a_cache_where_it_is_exact(name):
    config, keeps = OTHER_TYPES[name]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config()).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    prompts = [prompt for prompt, _ in pairs(3)]
    by_itself = answering(model)
    found = by_itself.write(prompts, [6] * 4)
    assert by_itself.keeps_cache is keeps
    assert found == answering(model, keeps_cache=False).write(prompts, [6] * 4)


def test_beyond_the_length_of_one_table_of_angles_nothing_is_kept():
    model = tiny_model("llama", torch.float64)
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    config = type(model.config)(
        **model.config.to_dict() | {"rope_parameters": rope, "max_position_embeddings": 38}
    )
    other = type(model)(config).double().eval()
    other.load_state_dict(model.state_dict())
    from longspan.models.rope import forget_lengths

    forget_lengths(other)
    prompts = [prompt for prompt, _ in pairs(2)]
    found = answering(other).write(prompts[2:3], [6])
    assert found == answering(other, keeps_cache=False).write(prompts[2:3], [6])
    # Sequences of unlike lengths have unlike angles, so none is read beside another.
    for nll, (prompt, answer) in zip(answering(other).nll(pairs(2)), pairs(2), strict=True):
        np.testing.assert_allclose(nll, answering(other).nll([(prompt, answer)])[0], rtol=1e-6)


def test_an_answer_ends_with_a_token_that_ends_texts_or_behind_a_stop():
    model = tiny_model("llama", torch.float64)
    prompts = [prompt for prompt, _ in pairs()]
    (whole,) = answering(model).write(prompts[:1], [12])
    letters = Alphabet().decode(whole.input_ids)
    third = whole.input_ids[2]
    ends = answering(model, tokenizer=Alphabet(frozenset({third})))
    (ended,) = ends.write(prompts[:1], [12])
    before = whole.input_ids.index(third)
    assert (ended.input_ids, ended.stop) == (whole.input_ids[:before], "end")
    stop = letters[4:6]
    (cut,) = answering(model).write(prompts[:1], [12], [stop])
    assert cut.stop == "text"
    assert cut.text == letters[: letters.index(stop)]
    # Rows that have ended change nothing in the others.
    several = ends.write(prompts, [12] * 4)
    assert several == [ends.write([prompt], [12])[0] for prompt in prompts]


def test_a_stop_before_any_word_does_not_end_an_answer():
    model = tiny_model("llama", torch.float64)
    prompt = pairs()[0][0]
    (whole,) = answering(model).write([prompt], [8])
    text = list(Alphabet().text)
    text[whole.input_ids[0]] = "\n"
    (answer,) = answering(model, tokenizer=Alphabet(text="".join(text))).write([prompt], [8], ["\n"])
    assert answer.text.startswith("\n")
    assert answer.text.strip()


def test_logits_that_are_not_finite_are_told_of():
    model = tiny_model("llama")
    reader = answering(model)
    prompts = [prompt for prompt, _ in pairs()]
    token = int(prompts[1][-1])
    model.get_input_embeddings().weight.data[token] = torch.nan
    clean = [prompt for prompt in prompts if token not in prompt]
    rows = [*clean[:1], prompts[1]]
    with pytest.raises(NotFiniteError, match="not finite; try dtype float32") as error:
        reader.write(rows, [2] * len(rows))
    assert error.value.row == len(rows) - 1
