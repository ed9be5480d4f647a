"""BD-rate between curves of mean scores, with intervals from resampling the pictures.

::

    rates, scores [pictures, qualities] --means over (resampled) pictures--> curves [qualities]
    --isotonic regression--> rising curves --Akima, mean distance in log rate--> percent of rate
"""

from __future__ import annotations

from dataclasses import dataclass

import bjontegaard
import numpy as np
from numpy.typing import NDArray

from codec.evaluation.judges import Direction

Floats = NDArray[np.float64]
# Bootstrap samples: enough for a 95 % interval that changes little from seed to seed.
RESAMPLES = 500
# A 95 % interval.
PERCENTILES = (2.5, 97.5)
# The same resamples for every pair, so that their intervals can be compared.
SEED = 0
# Points that Akima interpolation needs.
LEAST_POINTS = 3
# Share of the shorter range of scores that must overlap; with less, most of the result would be
# extrapolated.
LEAST_OVERLAP = 0.5
# Share of the resamples that must have a BD-rate; with less, no interval is given.
LEAST_VALID = 0.95
# Keeps logarithms finite for perfect scores.
TINY = 1e-12


@dataclass(frozen=True)
class Measured:
    """What one system measured on a set of pictures.

    Attributes:
        rates: bits per pixel [pictures, qualities].
        scores: of one judge [pictures, qualities].
    """

    rates: Floats
    scores: Floats


def rising(rates: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Make a curve strictly increasing: isotonic regression by pooling adjacent violators.

    Pooled points become one, at their mean score and geometric mean rate, so that the rate is a
    function of the score.

    Args:
        rates: [points].
        scores: [points]; greater is better.

    Returns:
        Rates and scores of the remaining points, sorted by rate.
    """
    blocks: list[tuple[float, float, int]] = []
    for k in np.argsort(rates, kind="stable"):
        score = float(scores[k])
        log_rate = float(np.log(rates[k]))
        count = 1
        while blocks and blocks[-1][0] / blocks[-1][2] >= score / count:
            before = blocks.pop()
            score = score + before[0]
            log_rate = log_rate + before[1]
            count = count + before[2]
        blocks.append((score, log_rate, count))
    sums, logs, counts = (np.array(column, float) for column in zip(*blocks))
    return np.exp(logs / counts), sums / counts


def bd_rate(anchor: tuple[Floats, Floats], test: tuple[Floats, Floats]) -> float | None:
    """Bjontegaard's mean difference in rate (VCEG-M33), with Akima interpolation.

    Args:
        anchor: (rates, scores), [points] each; greater scores are better.
        test: the same of the curve that is compared.

    Returns:
        Percent of the anchor's rate that the test curve needs more at equal score; negative: less.
        None where fewer than three points of a curve remain after `rising`, or the scores overlap
        in less than half of the shorter range.
    """
    rates, scores = rising(*anchor)
    rates_test, scores_test = rising(*test)
    if min(len(scores), len(scores_test)) < LEAST_POINTS:
        return None
    overlap = min(scores[-1], scores_test[-1]) - max(scores[0], scores_test[0])
    if overlap <= 0 or overlap < LEAST_OVERLAP * min(np.ptp(scores), np.ptp(scores_test)):
        return None
    value = float(
        bjontegaard.bd_rate(
            rates,
            scores,
            rates_test,
            scores_test,
            method="akima",
            require_matching_points=False,
            min_overlap=0,
        )
    )
    return value if np.isfinite(value) else None


def means(measured: Measured, weights: Floats, direction: Direction) -> tuple[Floats, Floats]:
    """Curves of weighted means over pictures.

    Args:
        measured: rates and scores.
        weights: [resamples, pictures]; each row sums to 1.
        direction: how BD-rate reads the mean score (judges.Judge).

    Returns:
        Rates and scores, [resamples, qualities] each; greater scores are better.
    """
    rates = weights @ measured.rates
    scores = weights @ measured.scores
    if direction == "log":
        return rates, -np.log(np.maximum(scores, TINY))
    if direction == "to-one":
        return rates, -np.log(np.maximum(1 - scores, TINY))
    return rates, -scores if direction == "lower" else scores


def resampled(count: int, resamples: int = RESAMPLES) -> Floats:
    """Weights [resamples, count] of `count` pictures drawn with replacement.

    They are the same for every caller.
    """
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), resamples)
    return draws / count


def compare(
    anchor: Measured, test: Measured, direction: Direction, resamples: int = RESAMPLES
) -> dict[str, float | None]:
    """BD-rate over all pictures, with an interval.

    Args:
        anchor: what `test` is compared with.
        test: the same pictures in the same order.
        direction: how the score is read (judges.Judge).
        resamples: how often the pictures are drawn, with replacement, the same ones for both.

    Returns:
        value: percent, None as in `bd_rate`; low and high: 2.5 and 97.5 % of the bootstrap
        distribution, None where more than 5 % of the resamples have no BD-rate.
    """
    count = len(anchor.rates)
    weights = np.concatenate([np.full((1, count), 1 / count), resampled(count, resamples)])
    curves = zip(*means(anchor, weights, direction), *means(test, weights, direction))
    values = [bd_rate((a, b), (c, d)) for a, b, c, d in curves]
    valid = [value for value in values[1:] if value is not None]
    if values[0] is None or len(valid) < LEAST_VALID * resamples:
        return {"value": _rounded(values[0]), "low": None, "high": None}
    low, high = np.percentile(valid, PERCENTILES)
    return {
        "value": _rounded(values[0]),
        "low": _rounded(float(low)),
        "high": _rounded(float(high)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
