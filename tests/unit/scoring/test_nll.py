import pytest
import torch
import transformers

from longspan.models import token_nll as token_nll_module
from longspan.models.rope import forget_lengths
from longspan.scoring.geometry import scoring_windows
from longspan.scoring.nll import long_context_nll, short_context_nll, short_nll_beside_long, windows_nll
from tiny_models import ARCHITECTURES, VOCABULARY, random_ids, tiny_model

BASE = {"base_length": 16, "base_stride": 8}


@torch.no_grad()
def naive_short_nll(model, ids, base_length, base_stride, bos_token_id=None):
    """One window a forward pass, the model's own full logits, in float64."""
    nll = torch.full((ids.shape[0], ids.shape[1] - 1), torch.nan, dtype=torch.float64)
    for row in range(ids.shape[0]):
        for c in range((ids.shape[1] - base_length) // base_stride + 1):
            window = ids[row, c * base_stride : c * base_stride + base_length].clone()
            if c and bos_token_id is not None:
                window[0] = bos_token_id
            logits = model(input_ids=window[None]).logits[0].double()
            losses = torch.nn.functional.cross_entropy(logits[:-1], window[1:], reduction="none")
            if c == 0:
                nll[row, : base_length - 1] = losses
            else:
                stop = base_length + c * base_stride
                nll[row, stop - base_stride - 1 : stop - 1] = losses[-base_stride:]
    return nll


def test_windows_of_ones_own_score_what_they_say_and_nothing_else():
    model, ids = tiny_model("llama"), random_ids(2, 40)
    whole = short_context_nll(model, ids, **BASE)
    windows = scoring_windows(40, *BASE.values())
    torch.testing.assert_close(windows_nll(model, ids, windows), whole, rtol=2e-5, atol=2e-5)
    later = windows_nll(model, ids, windows[2:])
    first = windows[2].scored_start - 1
    assert later[:, :first].isnan().all()
    torch.testing.assert_close(later[:, first:], whole[:, first:], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("bos_token_id", [None, 1])
def test_short_scores_equal_the_naive_form(architecture, bos_token_id):
    model = tiny_model(architecture)
    ids = random_ids(2, 40)
    nll = short_context_nll(model, ids, **BASE, bos_token_id=bos_token_id, windows_per_batch=3)
    assert nll.dtype == torch.float32
    assert nll.shape == (2, 39)
    torch.testing.assert_close(
        nll.double(), naive_short_nll(model, ids, **BASE, bos_token_id=bos_token_id), rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_scores_equal_the_naive_form(architecture):
    model = tiny_model(architecture)
    ids = random_ids(3, 40)
    nll = long_context_nll(model, ids, sequences_per_batch=2)
    torch.testing.assert_close(nll.double(), naive_short_nll(model, ids, 40, 1), rtol=2e-5, atol=2e-5)


def test_models_and_tokens_differ_enough_for_these_tests():
    nll = short_context_nll(tiny_model("llama"), random_ids(2, 40), **BASE)
    assert nll.std() > 0.3


def test_bos_replaces_the_first_token_of_later_windows_only():
    model, ids = tiny_model("llama"), random_ids(1, 40)
    plain = short_context_nll(model, ids, **BASE)
    with_bos = short_context_nll(model, ids, **BASE, bos_token_id=1)
    assert torch.equal(plain[:, :15], with_bos[:, :15])
    assert (plain[:, 15:] != with_bos[:, 15:]).all()


def test_without_the_first_window_its_entries_are_nan():
    model, ids = tiny_model("llama"), random_ids(2, 40)
    whole = short_context_nll(model, ids, **BASE)
    rest = short_context_nll(model, ids, **BASE, first_window=False)
    assert rest[:, :15].isnan().all()
    assert torch.equal(rest[:, 15:], whole[:, 15:])


def test_the_first_window_equals_the_long_pass():
    model, ids = tiny_model("llama"), random_ids(2, 40)
    short_nll, long_nll = short_context_nll(model, ids, **BASE), long_context_nll(model, ids)
    torch.testing.assert_close(short_nll[:, :15], long_nll[:, :15], rtol=1e-5, atol=1e-5)
    # Token base_length is the first that only the long pass sees in full.
    assert (short_nll[:, 15] - long_nll[:, 15]).abs().min() > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("base_length", "bos_token_id"), [(16, None), (16, 1), (40, 1)])
def test_beside_the_long_pass_short_scores_are_those_of_passes_of_their_own(
    architecture, base_length, bos_token_id
):
    model = tiny_model(architecture, torch.float64)
    ids = random_ids(2, 40, seed=base_length)
    options = {"base_length": base_length, "base_stride": 8, "bos_token_id": bos_token_id}
    long_nll = long_context_nll(model, ids)
    beside = short_nll_beside_long(model, ids, long_nll, **options, windows_per_batch=3)
    apart = short_context_nll(model, ids, **options)
    # Computed in float64, given in float32.
    torch.testing.assert_close(beside, apart, rtol=2e-7, atol=1e-7)
    assert torch.equal(beside[:, : base_length - 1], long_nll[:, : base_length - 1])


def test_beside_the_long_pass_the_first_window_is_not_run_again(monkeypatch):
    model, ids = tiny_model("llama"), random_ids(1, 40)
    long_nll, tokens = long_context_nll(model, ids), []
    model.model.embed_tokens.register_forward_hook(lambda *_: tokens.append(_[1][0].numel()))
    short_nll_beside_long(model, ids, long_nll, **BASE)
    assert tokens == [16, 16, 16]
    tokens.clear()
    assert short_nll_beside_long(model, ids, long_nll, base_length=40, base_stride=1).equal(long_nll)
    assert tokens == []


ROPES = {
    "dynamic": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 24,
        "short_factor": [1.0] * 4,
        "long_factor": [3.0] * 4,
    },
    # Of the same angles at any length.
    "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4},
    "yarn": {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 1e4,
        "original_max_position_embeddings": 24,
    },
    "llama3": {
        "rope_type": "llama3",
        "factor": 4.0,
        "rope_theta": 1e4,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
}


@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("tokens", [24, 40])
def test_a_model_whose_angles_depend_on_length_runs_its_first_window_itself(name, tokens):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(
        **sizes, num_attention_heads=2, max_position_embeddings=24, rope_parameters=ROPES[name]
    )
    model = transformers.LlamaForCausalLM(config).eval().double()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    forget_lengths(model)
    ids = random_ids(2, tokens)
    long_nll, apart = long_context_nll(model, ids), short_context_nll(model, ids, **BASE)
    beside = short_nll_beside_long(model, ids, long_nll, **BASE)
    torch.testing.assert_close(beside, apart, rtol=2e-7, atol=1e-7)
    has_own_angles = name in ("dynamic", "longrope") and tokens > 24
    assert ((long_nll - apart)[:, :15].abs().max() > 1e-3) == has_own_angles


@pytest.mark.parametrize("windows_per_batch", [1, 2, 3, 8, 100])
def test_batches_of_windows_change_nothing_but_rounding(windows_per_batch):
    model, ids = tiny_model("llama"), random_ids(2, 40)
    nll = short_context_nll(model, ids, **BASE, windows_per_batch=windows_per_batch)
    torch.testing.assert_close(nll, short_context_nll(model, ids, **BASE), rtol=1e-5, atol=1e-5)


def test_repeated_scoring_is_bitwise_the_same():
    model, ids = tiny_model("llama"), random_ids(2, 40)
    assert torch.equal(short_context_nll(model, ids, **BASE), short_context_nll(model, ids, **BASE))


def test_only_positions_that_count_reach_the_output_layer(monkeypatch):
    # The released code makes full logits of every window, and an entropy that nobody reads.
    seen = []
    exact = token_nll_module.exact_logits
    monkeypatch.setattr(
        token_nll_module,
        "exact_logits",
        lambda hidden, *rest: seen.append(len(hidden)) or exact(hidden, *rest),
    )
    monkeypatch.setitem(token_nll_module.CHUNK_LOGITS, "cpu", 5 * VOCABULARY)
    short_context_nll(tiny_model("llama"), random_ids(1, 40), **BASE)
    assert sum(seen) == 39
    assert max(seen) <= 5


def test_no_gradient_and_no_change_of_mode():
    model = tiny_model("llama").train()
    assert not short_context_nll(model, random_ids(1, 40), **BASE).requires_grad
    assert model.training


def test_int32_ids_are_accepted():
    model, ids = tiny_model("llama"), random_ids(1, 24)
    assert torch.equal(short_context_nll(model, ids.int(), **BASE), short_context_nll(model, ids, **BASE))


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        (random_ids(1, 41), BASE, r"base_stride 8 does not divide .* nearest valid: 5"),
        (random_ids(1, 12), BASE, r"base_length 16 must lie in 2 \.\.\. 12"),
        (random_ids(1, 40)[0], BASE, r"input_ids are \[40\]"),
        (random_ids(1, 40).float(), BASE, r"input_ids are \[1, 40\] torch.float32"),
        (random_ids(1, 40), BASE | {"windows_per_batch": 0}, "windows_per_batch 0 must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(ids, options, message):
    with pytest.raises(ValueError, match=message):
        short_context_nll(tiny_model("llama"), ids, **options)
