import pytest
import torch

from longspan.models.layers import compile_layers
from longspan.models.token_nll import token_nll
from longspan.scoring.nll import long_context_nll, short_context_nll, short_nll_beside_long
from longspan.scoring.self_scoring import SelfScoring
from longspan.weighting.exposure import ContextWeights
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from longspan.weighting.weights import shuffled_weights, token_weights, weights_by_context
from tiny_models import ARCHITECTURES, random_ids, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BASE = {"base_length": 16, "base_stride": 8}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 1.5e-2)])
@pytest.mark.parametrize(
    "case", [{}, {"bias": True}, {"softcap": 5.0}, {"logit_scale": 0.25, "softcap": 5.0}]
)
def test_token_nll_equals_float64(case, dtype, tolerance):
    generator = torch.Generator("cuda").manual_seed(0)
    options = {"generator": generator, "device": "cuda"}
    hidden = torch.randn(2, 300, 64, **options).to(dtype).requires_grad_()
    weight = (torch.randn(5000, 64, **options) / 4).to(dtype).requires_grad_()
    bias = torch.randn(5000, **options).to(dtype).requires_grad_()
    target = torch.randint(5000, (2, 300), **options)
    target[1, 7] = -100
    upstream = torch.rand(2, 300, **options) * 2
    case = case | ({"bias": bias} if "bias" in case else {})
    leaves = [hidden, weight] + ([bias] if "bias" in case else [])

    nll = token_nll(hidden, weight, target, **case)
    gradients = torch.autograd.grad(nll, leaves, upstream)
    logits = (hidden.double() @ weight.double().T + case.get("bias", torch.zeros(1, device="cuda"))).flatten(
        0, 1
    )
    logits = logits * case.get("logit_scale", 1.0)
    if "softcap" in case:
        logits = 5.0 * torch.tanh(logits / 5.0)
    expected = torch.nn.functional.cross_entropy(logits, target.flatten(), reduction="none").view(2, 300)
    expected_gradients = torch.autograd.grad(expected, leaves, upstream.double())

    assert nll.dtype == torch.float32
    assert nll[1, 7] == 0
    assert (nll.double() - expected).norm() / expected.norm() < tolerance
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert (gradient.double() - reference).norm() / reference.norm() < tolerance


def test_scored_nll_of_bfloat16_is_exact():
    """Without gradients the logits are never rounded to bfloat16."""
    hidden = torch.randn(500, 256, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(4000, 256, device="cuda", dtype=torch.bfloat16)
    target = torch.randint(4000, (500,), device="cuda")
    expected = torch.nn.functional.cross_entropy(
        hidden.double() @ weight.double().T, target, reduction="none"
    )
    assert (token_nll(hidden, weight, target).double() - expected).abs().max() < 1e-3


def test_token_nll_never_holds_all_logits():
    hidden = torch.randn(16384, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(64000, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    target = torch.randint(64000, (16384,), device="cuda")
    token_nll(hidden[:64], weight, target[:64]).sum().backward()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    token_nll(hidden, weight, target).sum().backward()
    logits_bytes = 16384 * 64000 * 4
    assert torch.cuda.max_memory_allocated() - before < 0.5 * logits_bytes


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.1)])
def test_scores_beside_a_long_pass_are_those_of_passes_of_their_own(architecture, dtype, tolerance):
    model, ids = tiny_model(architecture, dtype).cuda(), random_ids(2, 40)
    long_nll = long_context_nll(model, ids)
    beside = short_nll_beside_long(model, ids, long_nll, **BASE, bos_token_id=1)
    apart = short_context_nll(model, ids, **BASE, bos_token_id=1)
    # A window a pass: only the first one's shape differs.
    assert torch.equal(beside[:, 15:], apart[:, 15:])
    assert torch.equal(beside[:, :15], long_nll[:, :15])
    difference = (beside - apart)[:, :15].norm() / apart[:, :15].norm()
    assert difference < tolerance


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("windows_per_batch", [1, 3])
def test_scores_equal_the_cpu(architecture, windows_per_batch):
    model, ids = tiny_model(architecture), random_ids(2, 40)
    short_nll, long_nll = short_context_nll(model, ids, **BASE), long_context_nll(model, ids)
    model.cuda()
    on_cuda = short_context_nll(model, ids, **BASE, windows_per_batch=windows_per_batch)
    torch.testing.assert_close(on_cuda.cpu(), short_nll, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(long_context_nll(model, ids).cpu(), long_nll, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_compiled_layers_score_the_same(architecture):
    model, ids = tiny_model(architecture).cuda(), random_ids(2, 40)
    plain = short_context_nll(model, ids, **BASE)
    compile_layers(model)
    torch.testing.assert_close(short_context_nll(model, ids, **BASE), plain, rtol=1e-3, atol=1e-3)


def test_bfloat16_scores_are_near_float32():
    ids = random_ids(2, 40)
    exact = short_context_nll(tiny_model("llama").cuda(), ids, **BASE)
    rounded = short_context_nll(tiny_model("llama", torch.bfloat16).cuda(), ids, **BASE)
    assert (rounded - exact).square().mean().sqrt() < 0.1


@pytest.mark.parametrize("variant", ["sparse", "ppmi", "npmi"])
def test_kept_tokens_are_the_same_on_every_device(variant):
    generator = torch.Generator().manual_seed(0)
    # Multiples of 1/8 tie often.
    long_nll, short_nll = (torch.randint(0, 60, (2, 3, 999), generator=generator) / 8).unbind()
    parts = weighting_from_settings({"variant": variant, "sparsification": 0.4})
    options = {
        "transforms": parts.transforms,
        "sparsification": 0.4,
        "seed": 5,
        "sequence_ids": ["a", "b", "c"],
    }
    on_cuda = token_weights(long_nll.cuda(), short_nll.cuda(), **options)
    assert torch.equal(on_cuda.cpu(), token_weights(long_nll, short_nll, **options))


def test_weights_by_context_and_the_control_are_the_same_on_every_device():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 999, generator=generator) * 3
    counted = torch.rand(3, 999, generator=generator) > 0.1
    places = torch.cat([torch.arange(300), torch.arange(100), torch.arange(600)])[1:].expand(3, -1)
    documents = torch.repeat_interleave(torch.arange(3), torch.tensor([300, 100, 600]))[1:].expand(3, -1)
    context = ContextWeights(
        (0, 8, 16, 32, 64, 128, 256), (1.0, 1.0, 1.0, 1.0, 1.2, 1.5, 1.4), keeps_sum=True
    )

    def weigh(device):
        on = {"counted": counted.to(device)}
        found = weights_by_context(weights.to(device), context, context_tokens=places.to(device), **on)
        control = shuffled_weights(
            weights.to(device), seed=5, sequence_ids=["a", "b", "c"], documents=documents.to(device), **on
        )
        return found.cpu(), control.cpu()

    (found, control), (expected, order) = weigh("cuda"), weigh("cpu")
    # Sums add up in another order.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert torch.equal(control, order)


def test_a_self_scoring_step_equals_the_cpu():
    def gradient(device):
        module = WeightedLM(
            tiny_model("llama").to(device),
            weighting_from_settings({"variant": "dense"}),
            self_scoring=SelfScoring(**BASE),
        )
        module(random_ids(2, 40).to(device))["loss"].backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()]).cpu()

    reference = gradient("cpu")
    assert (gradient("cuda") - reference).norm() / reference.norm() < 2e-3


def test_kept_attention_changes_no_gradient():
    def gradient(model):
        module = WeightedLM(model)
        batch = {"input_ids": random_ids(2, 40).cuda(), "token_weights": torch.ones(2, 39, device="cuda")}
        module(**batch)["loss"].backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()])

    plain, compiled = tiny_model("llama").cuda(), tiny_model("llama").cuda()
    compile_layers(compiled, keep_attention=True)
    reference = gradient(plain)
    assert (gradient(compiled) - reference).norm() / reference.norm() < 2e-3
