"""Figures of a view, made from the rows that the catalogue gave.

Belongs here: pure functions of values: spreads by week, histograms, counts of statuses. Quantiles are interpolated
linearly, as DuckDB's `quantile_cont` and R's default do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

FEWEST_BINS, MOST_BINS = 5, 30


@dataclass(frozen=True)
class Spread:
    """Values of one measure: of how many rows, in how many there is none, and how they spread."""

    n: int
    missing: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bin:
    """How many values are between two; the upper end belongs to the next bin, but for the last."""

    low: float
    high: float
    n: int


def spread(values: Iterable[float | None]) -> Spread:
    """Return how values spread; the SD is that of a sample."""
    import numpy as np

    given = list(values)
    known = np.array([value for value in given if value is not None], dtype=float)
    if not known.size:
        return Spread(0, len(given))
    low, q1, median, q3, high = (float(one) for one in np.percentile(known, (0, 25, 50, 75, 100)))
    sd = float(known.std(ddof=1)) if known.size > 1 else None
    return Spread(known.size, len(given) - known.size, float(known.mean()), sd, low, q1, median, q3, high)


def spreads_by_week(rows: Sequence[Row], measure: str) -> dict[str, Spread]:
    """Return the spread of a measure in each week, the first week first."""
    by_week: dict[str, list[float | None]] = {}
    for row in rows:
        by_week.setdefault(row["date"], []).append(row[measure])
    return {week: spread(by_week[week]) for week in sorted(by_week)}


def histogram(rows: Sequence[Row], measure: str) -> tuple[Bin, ...]:
    """Return how a measure is distributed, in 5 to 30 bins of one width."""
    import numpy as np

    known = np.array([row[measure] for row in rows if row[measure] is not None], dtype=float)
    if not known.size:
        return ()
    bins = min(max(int(np.ceil(np.sqrt(known.size))), FEWEST_BINS), MOST_BINS)
    counts, edges = np.histogram(known, bins=bins)
    return tuple(
        Bin(float(low), float(high), int(n)) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def status_counts(rows: Sequence[Row]) -> dict[str, Counter[str]]:
    """Return how many participants have which status in each week, the last week first."""
    counts: dict[str, Counter[str]] = {}
    for row in sorted(rows, key=lambda row: row["date"], reverse=True):
        counts.setdefault(row["date"], Counter())[row["status"]] += 1
    return counts


def ordered(rows: Sequence[Row], order: str, measure: str) -> list[Row]:
    """Return the rows as asked for; those without a value come last where values decide."""
    if order == "participant":
        return sorted(rows, key=lambda row: row["participant_id"])  # of one person, the last week stays first
    if order in ("lowest", "highest"):
        sign = 1 if order == "lowest" else -1
        return sorted(rows, key=lambda row: (row[measure] is None, sign * (row[measure] or 0)))
    return list(rows)
