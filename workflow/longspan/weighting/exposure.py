"""Effective context: how many targets of a training have how much of it, and weights by it (EXACT).

The effective context of a target is the number l of tokens of its own document that it sees: in a window
those before it, a BOS token among them; in a packed sequence those of its piece. l is counted in buckets
[0, 8), [8, 16), [16, 32), ….

Weights are those of EXACT (arXiv 2605.10544): with q_b the share of the training's targets in bucket b, the
tail of buckets that begin at min_context_tokens or above gets

    w_b = 1 + alpha * r_b / sum_b(q_b * r_b),    r_b = (q_b + epsilon)^(-gamma),

so that all targets together weigh 1 + alpha in the mean, and the others weigh 1. Buckets, epsilon and the
defaults are those that descriptions of the paper give; the authors' code is not known to us.

Imports no torch; the arithmetic on a batch is in :mod:`longspan.weighting.weights`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from longspan.plugins.options import Number, Options, option, optional

FIRST_BUCKET_TOKENS = 8
EPSILON = 1e-6


class Exposure(Options):
    """Extra weight of targets with much context, the more the rarer they are (EXACT)."""

    alpha: Number = option(0.15, "Extra weight of all targets together (α).", ge=0)
    gamma: Number = option(0.5, "How much rare lengths of context gain over frequent ones (γ).", ge=0)
    min_context_tokens: int | None = optional(
        "Tokens of context from which on targets get it (τ); a quarter of a window if not given.", ge=1
    )

    def tail_tokens(self, window_tokens: int) -> int:
        """Tokens of context from which on targets get extra weight (τ)."""
        return window_tokens // 4 if self.min_context_tokens is None else self.min_context_tokens

    def tail_start(self, window_tokens: int) -> int:
        """First tokens of context of the first bucket that gets extra weight.

        Raises:
            ValueError: all targets of a window are in one bucket, or none is beyond `min_context_tokens`.
        """
        longest = window_tokens - 1
        if longest < FIRST_BUCKET_TOKENS:
            raise ValueError(
                f"all targets of a window of {window_tokens} tokens are in one bucket of context, fewer than "
                f"{FIRST_BUCKET_TOKENS} tokens, so no weight tells them apart; take longer windows"
            )
        tail_tokens, starts = self.tail_tokens(window_tokens), bucket_starts(longest)
        if tail_tokens > starts[-1]:
            raise ValueError(
                f"min_context_tokens: {tail_tokens} tokens are beyond {starts[-1]}, where the last bucket "
                f"of context in a window of {window_tokens} tokens begins; lower it"
            )
        return next(start for start in starts if start >= tail_tokens)


@dataclass(frozen=True)
class ContextWeights:
    """A weight for each bucket of context.

    Attributes:
        starts: first tokens of context of each bucket, ascending from 0.
        weights: its weight.
        keeps_sum: the weights of a sequence are scaled to keep their sum, where these multiply a loss's own.
    """

    starts: tuple[int, ...]
    weights: tuple[float, ...]
    keeps_sum: bool


@dataclass(frozen=True)
class ContextHistogram:
    """Targets by effective context.

    Attributes:
        starts: first tokens of context of each bucket, ascending from 0.
        targets: number of targets in each.
    """

    starts: tuple[int, ...]
    targets: tuple[int, ...]

    @classmethod
    def of_documents(cls, documents: Mapping[int, int]) -> "ContextHistogram":
        """Count targets in closed form.

        Args:
            documents: number of documents by their length (tokens); windows are documents here. A document of
                n tokens has targets with 1, …, n - 1 tokens of context.
        """
        starts = bucket_starts(max(documents) - 1)
        targets = [
            sum(
                count * max(0, min(length, bucket_stop(start)) - max(start, 1))
                for length, count in documents.items()
            )
            for start in starts
        ]
        return cls(tuple(starts), tuple(targets))

    def weights(self, exposure: Exposure, window_tokens: int) -> tuple[float, ...]:
        """Weight of each bucket, float64.

        Raises:
            ValueError: as `Exposure.tail_start`, or no target is in the tail.
        """
        tail = exposure.tail_start(window_tokens)
        total = sum(self.targets)
        shares = {start: count / total for start, count in zip(self.starts, self.targets, strict=True)}
        rarities = {
            start: (share + EPSILON) ** -exposure.gamma for start, share in shares.items() if start >= tail
        }
        mean = sum(shares[start] * rarity for start, rarity in rarities.items())
        if not mean:
            raise ValueError(
                f"min_context_tokens: no target of this training has {tail} tokens of context; lower it, or "
                "train on more long windows"
            )
        return tuple(1 + exposure.alpha * rarities.get(start, 0.0) / mean for start in self.starts)


def bucket_starts(longest_context: int) -> list[int]:
    """First tokens of context of the buckets [0, 8), [8, 16), [16, 32), … that reach so far."""
    starts = [0]
    edge = FIRST_BUCKET_TOKENS
    while edge <= longest_context:
        starts.append(edge)
        edge *= 2
    return starts


def bucket_stop(start: int) -> int:
    """Tokens of context at which the bucket that begins at `start` ends, exclusive."""
    return max(FIRST_BUCKET_TOKENS, 2 * start)
