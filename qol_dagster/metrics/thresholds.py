"""The limits that decide what counts, and how far back a column looks.

Belongs here: their names and defaults. Which sets of them have tables of their own is `profiles.py`'s.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

TRAILING_WEEKS = 4
"""How many weeks the `..._28d` columns look over, the week itself included."""


@dataclass(frozen=True)
class Thresholds:
    """The limits that decide validity; one named set, written into the metadata of every run.

    The usual convention is 10 h of wear (Tudor-Locke 2012); Herrmann 2013 recommends 13 h.
    """

    valid_day_wear_min: int = 600
    valid_week_days: int = 4
    valid_week_weekend_days: int = 1
    minutes_per_valid_hour: int = 30
    rhythm_step_hours: int = 120
    rhythm_step_hours_28d: int = 336
    regularity_night_pairs: int = 4
    regularity_night_pairs_28d: int = 14

    def as_dict(self) -> dict[str, int]:
        """Return the thresholds by name."""
        return asdict(self)


DEFAULT_THRESHOLDS = Thresholds()
