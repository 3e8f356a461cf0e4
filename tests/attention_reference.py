"""The far sums the dense way, in float64: the plain form that every faster one is compared with."""

import torch

from longspan.scoring.attention_statistics import default_min_distance


def dense_attention(q_BHLD, k_BKLD, scale=None, softcap=None):
    q, k = q_BHLD.double(), k_BKLD.double()
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    s = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    future = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).triu(1)
    return s.masked_fill(future, -torch.inf).softmax(-1)


def far_sums_of_matrix(p_BHLL, min_distance_tokens=None):
    num_tokens = p_BHLL.shape[-1]
    distance = default_min_distance(num_tokens) if min_distance_tokens is None else min_distance_tokens
    far = p_BHLL.double().tril(-distance)
    return far.sum((-2, -1)), far.square().sum((-2, -1))


def dense_far_sums(q_BHLD, k_BKLD, *, scale=None, softcap=None, min_distance_tokens=None):
    return far_sums_of_matrix(dense_attention(q_BHLD, k_BKLD, scale, softcap), min_distance_tokens)


def random_queries_keys(shape_q, key_heads, *, seed=0, spread=1.0, dtype=torch.float32, device="cpu"):
    """Normal q and k; ``spread`` widens the scores to about its own standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    batch, _, num_tokens, head_dim = shape_q
    q = torch.randn(shape_q, generator=generator) * spread
    k = torch.randn((batch, key_heads, num_tokens, head_dim), generator=generator)
    return q.to(device, dtype), k.to(device, dtype)
