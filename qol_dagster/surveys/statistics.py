"""The statistics of associations: correlations within and between persons, a mixed model, false discoveries.

Belongs here: functions of arrays. Numpy only: Student's t comes from the incomplete beta function, worked out here, so
that a laptop installs nothing for four distributions. Tests verify them against other packages' published results.
Sources: Bakdash & Marusich 2017 (repeated-measures correlation), Laird & Ware 1982 (mixed model), Benjamini & Hochberg
1995 (false discoveries), Fisher 1921 (interval of a correlation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

CONFIDENCE = 0.95
_TINY = 1e-300
_LARGEST_LOG_RATIO = 12
_SHORTEST_STEP = 1e-5
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95 % interval and two-sided p; `df` are its degrees of freedom."""

    value: float
    low: float
    high: float
    p: float
    df: int


def repeated_measures_correlation(persons: Codes, x: Floats, y: Floats) -> Estimate | None:
    """Return the correlation within persons: of each value's distance from its person's mean.

    Persons with one form tell nothing and are left out. df = forms - persons - 1. None with df < 2 or no variance.
    """
    chosen = np.isin(persons, np.flatnonzero(np.bincount(persons) >= 2))
    persons, x, y = persons[chosen], x[chosen], y[chosen]
    n_persons = len(np.unique(persons))
    df = len(x) - n_persons - 1
    if df < 2:
        return None
    r = _correlation(_within(persons, x), _within(persons, y))
    return None if r is None else _with_interval(r, df)


def between_person_correlation(persons: Codes, x: Floats, y: Floats) -> Estimate | None:
    """Return Pearson's correlation of the persons' means. df = persons - 2. None with df < 2 or no variance."""
    means_x, means_y = (_means(persons, values)[np.unique(persons)] for values in (x, y))
    df = len(means_x) - 2
    if df < 2:
        return None
    r = _correlation(means_x - means_x.mean(), means_y - means_y.mean())
    return None if r is None else _with_interval(r, df)


def mixed_model_slope(persons: Codes, x: Floats, y: Floats) -> Estimate | None:
    """Return the slope of y on x in a linear mixed model with an intercept for each person, by REML.

    y = a + b x + u(person) + e. The interval is Student's with forms - persons - 1 degrees of freedom, as a slope
    within persons has. None with df < 2, fewer than 3 persons, or no variance.
    """
    codes = np.unique(persons, return_inverse=True)[1]
    n_persons = int(codes.max()) + 1 if len(codes) else 0
    df = len(x) - n_persons - 1
    if df < 2 or n_persons < 3 or not _spread(x) or not _spread(y):
        return None
    scale_x, scale_y = float(np.std(x)), float(np.std(y))  # so that the search knows only one scale
    model = _Model(codes, (x - x.mean()) / scale_x, (y - y.mean()) / scale_y)
    fit = model.fit(math.exp(_minimum(lambda log_ratio: model.fit(math.exp(log_ratio)).deviance)))
    if not fit.error > 0:
        return None
    slope, error = fit.slope * scale_y / scale_x, fit.error * scale_y / scale_x
    half = t_quantile((1 + CONFIDENCE) / 2, df) * error
    return Estimate(slope, slope - half, slope + half, t_p_value(slope / error, df), df)


def adjust_for_false_discoveries(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p of each: of those below q, a share of q is expected to be false."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
    return [float(one) for one in adjusted]


def t_p_value(t: float, df: float) -> float:
    """Return the two-sided p of Student's t."""
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t))


def t_quantile(probability: float, df: float) -> float:
    """Return the value below which Student's t is with this probability, from 0.5 up to below 1; by bisection."""
    tail = 2 * (1 - probability)
    low, high = 0.0, 2.0
    while t_p_value(high, df) > tail:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_p_value(middle, df) > tail else (low, middle)
    return (low + high) / 2


# -- correlations


def _with_interval(r: float, df: int) -> Estimate:
    """Fisher's interval: atanh(r) has the standard error 1 / sqrt(n - 3), where n - 2 is df."""
    if abs(r) >= 1:
        return Estimate(r, r, r, 0.0, df)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) / math.sqrt(df - 1)
    z = math.atanh(r)
    return Estimate(r, math.tanh(z - half), math.tanh(z + half), t_p_value(r * math.sqrt(df / (1 - r * r)), df), df)


def _correlation(x: Floats, y: Floats) -> float | None:
    """Return the correlation of centred values; None if either is constant but for rounding."""
    if not _spread(x) or not _spread(y):
        return None
    return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1, 1))


def _spread(values: Floats) -> bool:
    """Return whether values differ by more than rounding."""
    return bool(np.ptp(values) > 1e-9 * max(1.0, float(np.abs(values).max())))


def _means(codes: Codes, values: Floats) -> Floats:
    counts = np.bincount(codes)
    return np.bincount(codes, values) / np.maximum(counts, 1)


def _within(codes: Codes, values: Floats) -> Floats:
    centred: Floats = values - _means(codes, values)[codes]
    return centred


# -- the mixed model


@dataclass(frozen=True)
class _Fit:
    slope: float
    error: float
    deviance: float


class _Model:
    """The model's sums, from which each ratio of variances (person / residual) is tried."""

    def __init__(self, codes: Codes, x: Floats, y: Floats) -> None:
        self.counts = np.bincount(codes).astype(np.float64)
        design = np.column_stack([np.ones_like(x), x, y])
        self.sums = np.column_stack([np.bincount(codes, column) for column in design.T])
        self.products = design.T @ design

    def fit(self, ratio: float) -> _Fit:
        """Return generalised least squares under V = I + ratio J in each person, and -2 log REML but for a constant."""
        weights = ratio / (1 + ratio * self.counts)
        inner = self.products - self.sums.T @ (weights[:, None] * self.sums)
        (n, x, y), (_, xx, xy), (_, _, yy) = inner.tolist()
        determinant = n * xx - x * x
        intercept, slope = (xx * y - x * xy) / determinant, (n * xy - x * y) / determinant
        df = float(self.counts.sum()) - 2
        variance = max(yy - intercept * y - slope * xy, _TINY) / df
        logs = float(np.log1p(ratio * self.counts).sum()) + math.log(determinant)
        return _Fit(slope, math.sqrt(variance * n / determinant), logs + df * math.log(variance))


def _minimum(deviance: Callable[[float], float]) -> float:
    """Return the log of the ratio with the least deviance, by golden section around the best of a coarse grid."""
    best = min(range(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO + 1, 2), key=deviance)
    low, high = best - 2.0, best + 2.0
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = deviance(left), deviance(right)
    while high - low > _SHORTEST_STEP:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = deviance(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = deviance(right)
    return (low + high) / 2


# -- Student's t


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # there the other side converges faster
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1 / _away_from_0(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _away_from_0(1 + term * d), _away_from_0(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
