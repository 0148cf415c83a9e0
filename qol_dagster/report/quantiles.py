"""Quantiles as the catalogue computes them, so that a report and a query have the same number."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, between two of them by their distance, as `quantile_cont` does."""
    place = (len(values) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)
