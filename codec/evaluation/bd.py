"""BD-rate between curves of mean scores, with intervals from resampling the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import bjontegaard
import numpy as np
from numpy.typing import NDArray

from codec.evaluation.judges import Direction

Floats = NDArray[np.float64]
RESAMPLES = 500
PERCENTILES = (2.5, 97.5)
SEED = 0
LEAST_POINTS = 3
LEAST_OVERLAP = 0.5
LEAST_VALID = 0.95
TINY = 1e-12


@dataclass(frozen=True)
class Measured:
    """rates (bits per pixel) and scores, both [pictures, qualities]."""

    rates: Floats
    scores: Floats


def rising(rates: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """A curve [points], sorted by rate, made strictly increasing: its isotonic regression by pooling adjacent violators.

    Points that are pooled become one, at their mean score and geometric mean rate, so that rate is a function of score.
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
    """Percent of the anchor's rate that the test curve needs more at equal score (negative: less); curves as (rates, scores).

    Bjontegaard's measure (VCEG-M33) with Akima interpolation. None where less than three points are left of a curve after `rising`
    or the scores overlap in less than half of the shorter range.
    """
    (rates, scores), (rates_test, scores_test) = rising(*anchor), rising(*test)
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
    """Curves [resamples, qualities] of weighted means over pictures, weights [resamples, pictures]; greater scores are better."""
    rates = weights @ measured.rates
    scores = weights @ measured.scores
    if direction == "log":
        return rates, -np.log(np.maximum(scores, TINY))
    if direction == "to-one":
        return rates, -np.log(np.maximum(1 - scores, TINY))
    return rates, -scores if direction == "lower" else scores


def resampled(count: int, resamples: int = RESAMPLES) -> Floats:
    """Weights [resamples, count] of `count` pictures drawn with replacement; the same for every caller."""
    return (
        np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), resamples) / count
    )


def compare(
    anchor: Measured, test: Measured, direction: Direction, resamples: int = RESAMPLES
) -> dict[str, float | None]:
    """{"value", "low", "high"}: BD-rate in percent over all pictures, and 2.5 and 97.5 % of its bootstrap distribution.

    Each resample draws pictures with replacement, the same ones for both, which must hold the same pictures in the same order.
    value is None as in `bd_rate`; low and high also where more than 5 % of the resamples have none.
    """
    count = len(anchor.rates)
    weights = np.concatenate([np.full((1, count), 1 / count), resampled(count, resamples)])
    curves = zip(*means(anchor, weights, direction), *means(test, weights, direction))
    values = [bd_rate((a, b), (c, d)) for a, b, c, d in curves]
    found = [v for v in values[1:] if v is not None]
    low, high = (
        np.percentile(found, PERCENTILES) if len(found) >= LEAST_VALID * resamples else (None, None)
    )
    if values[0] is None or low is None or high is None:
        return {"value": rounded(values[0]), "low": None, "high": None}
    return {"value": rounded(values[0]), "low": rounded(float(low)), "high": rounded(float(high))}


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
