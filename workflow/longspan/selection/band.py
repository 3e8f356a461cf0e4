"""A band of percentile ranks: which places of a ranking lie in it."""

import math


def band_places(count: int, low: float, high: float) -> range:
    """Places (1 is best) of the windows whose percentile lies above `low` and not above `high`.

    The window at place p of `count` has the percentile (count - p + 1) / count, as in a selection's table, so
    that bands which meet share no window: [0, 0.2], [0.2, 0.8] and [0.8, 1] keep all of them, each once.

    Args:
        count: windows that are ranked.
        low: lower bound, 0 ... 1.
        high: upper bound, above `low`.
    """
    # Shares such as 0.3 of 10 fall short of a whole number by rounding alone.
    up_to_low, up_to_high = (math.floor(share * count + 1e-9) for share in (low, high))
    return range(count - up_to_high + 1, count - up_to_low + 1)


def keeps_nothing(most: int, low: float, high: float) -> bool:
    """Whether a band keeps no window however many there are, up to `most`."""
    # From 1 / (high - low) windows on, one of them lies in the band.
    enough = math.ceil(1 / (high - low))
    return most < enough and not any(band_places(count, low, high) for count in range(1, most + 1))
