"""Intervals of means, differences and areas: bootstrap over clusters, with seeds as a second level.

Samples are drawn by clusters (the documents that they were cut from), since those of one cluster are not
independent. Trainings with several seeds see the same clusters, so both are drawn, each for itself. The
statistic is computed anew of each draw. Its deviations are widened for what resampling lacks by
construction where there are few clusters: the factor √(n/(n-1)) of the variance, and the quantile of
Student's t over that of the normal distribution (Hesterberg, arXiv 1411.5279, section 4.4 and following).
All is float64, and the same seed gives the same numbers.

Shape suffixes: S seeds, N samples, C clusters, P parts (lengths of an area, else one), R replicates.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

REPLICATES = 4000
CONFIDENCE = 0.95
_CHUNK = 2**22  # entries of the arrays of draws that are held at a time
_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(64)
_GAUSS_NODES, _GAUSS_WEIGHTS = (_GAUSS_NODES + 1) / 2, _GAUSS_WEIGHTS / 2


@dataclass(frozen=True)
class Samples:
    """Numbers of one model, or of several that differ by their seed.

    Attributes:
        value_SN: float64 [S, N].
        weight_N: float64 [N], at least 0.
        cluster_N: integers [N], numbers of clusters 0 … C - 1.
        length_N: float64 [N], tokens of context; NaN where a sample has none.
    """

    value_SN: np.ndarray
    weight_N: np.ndarray
    cluster_N: np.ndarray
    length_N: np.ndarray

    def part(self, mask_N: np.ndarray) -> "Samples":
        """Those samples alone, their clusters numbered anew."""
        cluster_N = np.unique(self.cluster_N[mask_N], return_inverse=True)[1]
        return Samples(self.value_SN[:, mask_N], self.weight_N[mask_N], cluster_N, self.length_N[mask_N])


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the number.
        low, high: bounds of the interval; NaN where there is none, because there is one cluster only, or all
            clusters agree to the last digit, so that no draw differs from another.
        p: two-sided: the smallest 1 - confidence whose interval leaves 0 out, no smaller than
            2 / (replicates + 1). NaN with one cluster; where all agree, that of the sign test.
        samples, clusters, seeds: what it is made of.
    """

    value: float
    low: float
    high: float
    p: float
    samples: int
    clusters: int
    seeds: int


def mean(samples: Samples, *, seed: int, replicates: int = REPLICATES) -> Estimate:
    """Weighted mean over samples, and over seeds.

    Raises:
        ValueError: there is no sample, or all weights are 0.
    """
    return _bootstrap(samples, None, *_whole(samples), seed, replicates)


def difference(first: Samples, second: Samples, *, seed: int, replicates: int = REPLICATES) -> Estimate:
    """Weighted mean of `first` less that of `second`, over the same samples.

    Clusters are drawn for both at once. Seeds are too where there are equally many, which is to say that
    seeds of one place belong together; one model without seeds (a base model) is the same in every draw.

    Raises:
        ValueError: the two are not of the same samples, or as `mean`.
    """
    return _bootstrap(first, second, *_whole(first), seed, replicates)


def area(
    samples: Samples, minus: Samples | None = None, *, seed: int, replicates: int = REPLICATES
) -> Estimate:
    """Area under the curve of means over the logarithm of lengths, divided by the width of the grid.

    Straight lines join the means of neighbouring lengths, so the area of a constant is that constant. One
    length gives its mean. Each draw gives a curve of its own, so the uncertainty of every length is in the
    interval.

    Args:
        samples: with a length each.
        minus: those of another model, whose area is taken away.
        seed: of the draws.
        replicates: number of draws.

    Raises:
        ValueError: a sample without a length, or as `difference`.
    """
    if not (samples.length_N > 0).all():
        raise ValueError("the area under a curve over lengths needs a length of every sample")
    return _bootstrap(samples, minus, *_grid(samples), seed, replicates)


def holm(p: Sequence[float]) -> list[float]:
    """p values of several comparisons, adjusted together (Holm 1979); NaN takes no part and stays."""
    p_K = np.asarray(p, np.float64)
    there = np.flatnonzero(~np.isnan(p_K))
    order = there[np.argsort(p_K[there], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted_K = p_K.copy()
    adjusted_K[order] = np.minimum(np.maximum.accumulate(p_K[order] * factors), 1.0)
    return adjusted_K.tolist()


def student_t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution.

    With t = √freedom · tan φ the distribution is an integral of cos^(freedom - 1), which Gauss' rule gives
    to ten digits. It is concave in φ, so Newton's steps from 0 come ever closer and never too far.

    Args:
        probability: above 0, below 1.
        freedom: degrees of freedom, at least 1.
    """
    if freedom > 1e6:
        return NormalDist().inv_cdf(probability)
    if probability < 0.5:
        return -student_t_quantile(1 - probability, freedom)
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi) / 2

    def density(angle):
        return np.exp(log_constant + (freedom - 1) * np.log(np.cos(angle)))

    angle = 0.0
    for _ in range(200):
        inside = float(_GAUSS_WEIGHTS @ density(angle * _GAUSS_NODES)) * angle
        step = (probability - 0.5 - inside) / float(density(angle))
        angle += step
        if step <= 1e-14 * angle:
            break
    return math.sqrt(freedom) * math.tan(angle)


# The statistic, of clusters' sums


def _whole(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """One part, which counts once."""
    return np.zeros(samples.weight_N.size, np.int64), np.ones(1)


def _grid(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Part of each sample by its length, and what a part's mean counts for in the area."""
    lengths, part_N = np.unique(samples.length_N, return_inverse=True)
    if len(lengths) == 1:
        return part_N, np.ones(1)
    steps = np.diff(np.log(lengths))
    share_P = np.zeros(len(lengths))
    share_P[:-1] += steps / 2
    share_P[1:] += steps / 2
    return part_N, share_P / steps.sum()


@dataclass(frozen=True)
class _Sums:
    """Sums of weighted values and of weights, by cluster and part."""

    value_SCP: np.ndarray
    weight_CP: np.ndarray
    share_P: np.ndarray

    @classmethod
    def of(cls, samples: Samples, part_N: np.ndarray, share_P: np.ndarray) -> "_Sums":
        shape = (int(samples.cluster_N.max()) + 1, len(share_P))
        cell_N = samples.cluster_N * shape[1] + part_N
        cells = shape[0] * shape[1]
        weight_CP = np.bincount(cell_N, samples.weight_N, cells).reshape(shape)
        if not (weight_CP.sum(0) > 0).all():
            raise ValueError("a mean over samples whose weights are all 0 says nothing")
        weighted_SN = samples.value_SN * samples.weight_N
        value_SCP = np.stack([np.bincount(cell_N, row_N, cells).reshape(shape) for row_N in weighted_SN])
        return cls(value_SCP, weight_CP, share_P)

    @property
    def seeds(self) -> int:
        return self.value_SCP.shape[0]

    def of_clusters(self, count_RC: np.ndarray) -> np.ndarray:
        """The statistic [R] when each cluster counts so often, over all seeds."""
        with np.errstate(invalid="ignore"):
            mean_RP = (count_RC @ self.value_SCP.mean(0)) / (count_RC @ self.weight_CP)
        return mean_RP @ self.share_P

    def of_seeds(self, count_RS: np.ndarray) -> np.ndarray:
        """The statistic [R] when each seed counts so often, over all clusters."""
        by_seed_S = (self.value_SCP.sum(1) / self.weight_CP.sum(0)) @ self.share_P
        return count_RS @ by_seed_S / count_RS.sum(1)


# Draws


def _bootstrap(
    first: Samples,
    second: Samples | None,
    part_N: np.ndarray,
    share_P: np.ndarray,
    seed: int,
    replicates: int,
) -> Estimate:
    if first.weight_N.size == 0:
        raise ValueError("there is no sample to take a mean of")
    signed = [(1.0, _Sums.of(first, part_N, share_P))]
    if second is not None:
        _require_same_samples(first, second)
        signed.append((-1.0, _Sums.of(second, part_N, share_P)))
    there_CP = signed[0][1].weight_CP > 0
    clusters = len(there_CP)

    def of_clusters(count_RC):
        return sum(sign * sums.of_clusters(count_RC) for sign, sums in signed)

    value = float(of_clusters(np.ones((1, clusters)))[0])
    made_of = (first.weight_N.size, clusters, max(sums.seeds for _, sums in signed))
    strata = _strata(there_CP)
    freedom = clusters - len(strata)
    if freedom < 1:
        return Estimate(value, math.nan, math.nan, math.nan, *made_of)
    rng = np.random.default_rng([seed, 0])
    draws = _draws(rng, strata, clusters, replicates)
    moved_R = np.concatenate([of_clusters(count_RC) for count_RC in draws]) - value
    # A draw that leaves a length without samples has no area.
    moved_R = np.where(np.isfinite(moved_R), moved_R, 0.0)
    deviations = [(moved_R * math.sqrt(clusters / freedom), freedom)]

    numbers = [sums.seeds for _, sums in signed]
    rng = np.random.default_rng([seed, 1])
    for group in [signed] if len(set(numbers)) == 1 else [[pair] for pair in signed]:
        number = group[0][1].seeds
        if number > 1:
            count_RS = rng.multinomial(number, np.full(number, 1 / number), size=replicates)
            once_1S = np.ones((1, number))
            moved_R = sum(sign * (sums.of_seeds(count_RS) - sums.of_seeds(once_1S)) for sign, sums in group)
            deviations.append((moved_R * math.sqrt(number / (number - 1)), number - 1))
    variances = [(moved_R.var(), own) for moved_R, own in deviations]
    deviation_R = sum(moved_R for moved_R, _ in deviations)
    if np.abs(deviation_R).max() <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, math.nan, math.nan, 1.0 if value == 0 else 2.0 ** (1 - clusters), *made_of)
    # Satterthwaite's degrees of freedom of a sum of variances.
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / own for variance, own in variances)
    return _bounded(value, deviation_R, freedom, made_of)


def _bounded(value: float, deviation_R: np.ndarray, freedom: float, made_of: tuple) -> Estimate:
    deviation_R = np.sort(deviation_R)

    def bounds(outside: float) -> tuple[float, float]:
        upper = 1 - outside / 2
        wider = student_t_quantile(upper, freedom) / NormalDist().inv_cdf(upper)
        low, high = np.quantile(deviation_R, [outside / 2, upper])
        return float(value + wider * min(low, 0.0)), float(value + wider * max(high, 0.0))

    def leaves_zero_out(outside: float) -> bool:
        low, high = bounds(outside)
        return low > 0 or high < 0

    least = 2 / (len(deviation_R) + 1)
    if value == 0:
        p = 1.0
    elif leaves_zero_out(least):
        p = least
    else:
        holds, p = least, 1.0
        for _ in range(16):
            middle = math.sqrt(holds * p)
            holds, p = (holds, middle) if leaves_zero_out(middle) else (middle, p)
    return Estimate(value, *bounds(1 - CONFIDENCE), p, *made_of)


def _strata(there_CP: np.ndarray) -> list[np.ndarray]:
    """Clusters that are drawn among themselves.

    Where each length has samples of its own, their numbers are by design, so a draw has as many of each.
    Clusters that lack a length by chance are drawn with all others.
    """
    stratum_C = np.unique(there_CP, axis=0, return_inverse=True)[1].reshape(-1)
    strata = [np.flatnonzero(stratum_C == stratum) for stratum in range(stratum_C.max() + 1)]
    return strata if min(map(len, strata)) > 1 else [np.arange(len(there_CP))]


def _draws(
    rng: np.random.Generator, strata: list[np.ndarray], clusters: int, replicates: int
) -> Iterator[np.ndarray]:
    """How often each cluster is drawn, float64 [R, C], a chunk of replicates at a time."""
    chunk = max(1, _CHUNK // clusters)
    for start in range(0, replicates, chunk):
        count_RC = np.empty((min(chunk, replicates - start), clusters))
        for members in strata:
            equal = np.full(len(members), 1 / len(members))
            count_RC[:, members] = rng.multinomial(len(members), equal, size=len(count_RC))
        yield count_RC


def _require_same_samples(first: Samples, second: Samples) -> None:
    same = all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("weight_N", "cluster_N", "length_N")
    )
    if not same or first.value_SN.shape[1] != second.value_SN.shape[1]:
        raise ValueError("two models were measured on different samples; a paired difference needs the same")
