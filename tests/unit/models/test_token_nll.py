import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.models import token_nll as token_nll_module
from longspan.models.token_nll import token_nll


def naive_nll(hidden, weight, target, *, bias=None, logit_scale=1.0, softcap=None):
    logits = hidden.double() @ weight.double().T
    if bias is not None:
        logits = logits + bias.double()
    logits = logits * logit_scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), target.flatten(), reduction="none", ignore_index=-100
    ).view(target.shape)


def inputs(dtype=torch.float32, positions=(2, 9), hidden=8, vocabulary=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(*positions, hidden, generator=generator).to(dtype).requires_grad_(),
        torch.randn(vocabulary, hidden, generator=generator).to(dtype).requires_grad_(),
        torch.randn(vocabulary, generator=generator).to(dtype).requires_grad_(),
        torch.randint(vocabulary, positions, generator=generator),
    )


CASES = [
    {},
    {"bias": True},
    {"logit_scale": 0.25},
    {"softcap": 3.0},
    {"bias": True, "logit_scale": 2.0, "softcap": 5.0},
]


@pytest.fixture(params=[1, 4, 1000])
def chunk_positions(request, monkeypatch):
    monkeypatch.setitem(token_nll_module.CHUNK_LOGITS, "cpu", 30 * request.param)


@pytest.mark.usefixtures("chunk_positions")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 4e-6), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_equal_float64(case, dtype, tolerance):
    hidden, weight, bias, target = inputs(dtype)
    target[0, 2] = target[1, 8] = -100
    upstream = torch.linspace(-1, 2, target.numel()).view(target.shape)
    options = case | ({"bias": bias} if "bias" in case else {})
    leaves = [hidden, weight] + ([bias] if "bias" in case else [])

    nll = token_nll(hidden, weight, target, **options)
    gradients = torch.autograd.grad(nll, leaves, upstream)
    expected = naive_nll(hidden, weight, target, **options)
    expected_gradients = torch.autograd.grad(expected, leaves, upstream.double())

    assert nll.dtype == torch.float32
    assert nll[0, 2] == nll[1, 8] == 0
    torch.testing.assert_close(nll.double(), expected, rtol=tolerance, atol=tolerance)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert gradient.dtype == dtype
        error = (gradient.double() - reference).norm() / reference.norm()
        assert error < tolerance


def test_gradients_pass_gradcheck():
    hidden, weight, bias, target = inputs(torch.float64, (3,), 4, 6)
    torch.autograd.gradcheck(
        lambda h, w, b: token_nll(h, w, target, bias=b, logit_scale=0.5, softcap=2.0), (hidden, weight, bias)
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 20), st.integers(0, 100))
def test_any_shape_equals_float64(positions, hidden_size, vocabulary, seed):
    hidden, weight, _, target = inputs(torch.float32, (positions,), hidden_size, vocabulary, seed)
    torch.testing.assert_close(
        token_nll(hidden, weight, target).double(), naive_nll(hidden, weight, target), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_wanted_gradients_are_made(wanted):
    hidden, weight, bias, target = inputs()
    leaves = [leaf.detach() for leaf in (hidden, weight, bias)]
    leaves[wanted].requires_grad_()
    token_nll(leaves[0], leaves[1], target, bias=leaves[2]).sum().backward()
    assert [leaf.grad is not None for leaf in leaves] == [index == wanted for index in range(3)]


def test_large_logits_do_not_overflow():
    hidden = torch.full((1, 1), 1e4)
    weight = torch.tensor([[1.0], [-1.0]])
    assert token_nll(hidden, weight, torch.tensor([1])).item() == 2e4


def test_ignored_targets_have_no_gradient():
    hidden, weight, _, target = inputs()
    nll = token_nll(hidden, weight, torch.full_like(target, -100))
    nll.sum().backward()
    assert not nll.any()
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_no_positions_give_no_entries():
    hidden, weight, _, target = inputs(positions=(0,))
    token_nll(hidden, weight, target).sum().backward()
    assert not weight.grad.any()


def test_autocast_computes_in_its_dtype_and_returns_float32():
    hidden, weight, _, target = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nll = token_nll(hidden, weight, target)
    nll.sum().backward()
    assert nll.dtype == weight.grad.dtype == torch.float32
    rounded = naive_nll(hidden.bfloat16(), weight.bfloat16(), target)
    torch.testing.assert_close(nll.double(), rounded, rtol=3e-2, atol=3e-2)


def test_no_tensor_of_positions_times_vocabulary_exists(monkeypatch):
    # The released code holds the logits of the whole sequence several times.
    monkeypatch.setitem(token_nll_module.CHUNK_LOGITS, "cpu", 4 * 301)
    hidden, weight, _, target = inputs(positions=(64,), vocabulary=301)

    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    with Watch():
        token_nll(hidden, weight, target).sum().backward()
    assert largest <= max(4 * 301, weight.numel())
    assert largest < 64 * 301


def test_shapes_that_do_not_fit_are_refused():
    hidden, weight, _, target = inputs()
    with pytest.raises(ValueError, match=r"hidden \[2, 9, 8\], weight \[30, 8\] and target \[9\] do not fit"):
        token_nll(hidden, weight, target[0])
