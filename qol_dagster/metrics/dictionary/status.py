"""The columns of `participant_status`: a row for everyone enrolled and each ISO week.

Belongs here: facts about its columns. Their expressions are `metrics/status.py`'s.
"""

from __future__ import annotations

from functools import partial

from qol_dagster.metrics.dictionary.metric import LAST_28_DAYS, LINEAGE, WEAR, Metric, entry
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.dictionary.values import WEEK_STATES, Blanks

_status = partial(entry, "status")

_NOTHING_OF_REVOKED = "0 when revoked"
_WORN = "is_valid_day wear_min"
WEAR_SIGNS = (
    "steps",
    "hr_max_bpm",
    "stress_mean",
    "sleep_tst_min",
    "hrv_rmssd_ms",
    "spo2_mean_pct",
    "resp_day_brpm",
)
"""Daily columns of which a value above 0 is a sign that the device was worn, where no samples say for how long."""
_SIGNS = f"wear_min {' '.join(WEAR_SIGNS)}"
_OF_WEEK = Blanks("status")
_ABSENT = "date last_received_at user_id_map.enrolled_at"


def _days(name: str, description: str, formula: str, inputs: str, *, sources: tuple[Source, ...] = LINEAGE) -> Metric:
    """Return how many of the week's days are in one of the six states."""
    return _status(
        name, "d", description, formula=formula, rule=_NOTHING_OF_REVOKED, inputs=inputs,
        type="int64", sources=sources, high=7, nullable=False,
    )  # fmt: skip


STATUS: tuple[Metric, ...] = (
    _status(
        "participant_id", "", "Pseudonymous participant",
        rule="Everyone who was ever enrolled, also without data", inputs="user_id_map.participant_id participant_id",
        type="string", sources=LINEAGE, nullable=False,
    ),
    _status(
        "date", "", "Monday of the ISO week",
        rule="Partition column, text YYYY-MM-DD", inputs="date", type="string", sources=LINEAGE, nullable=False,
    ),
    _status(
        "status", "", "Whether the device was worn in the week, else what is known of the reason",
        formula="The first that holds of revoked, valid, too_short, not_enrolled, unknown, not_worn, not_synced",
        rule="revoked: no account may be used. valid: n_valid_days >= valid_week_days and valid weekend days >= "
        "valid_week_weekend_days. too_short: worn on some day, but the week has too few valid days. "
        "not_enrolled: all days before enrolment. unknown, not_worn: any such day",
        inputs=f"is_valid_day {_SIGNS} {_ABSENT} user_id_map.status", type="string", sources=WEAR, nullable=False,
        values=WEEK_STATES,
    ),
    # The seven days
    _days("n_valid_days", "Valid days", "n(is_valid_day)", "is_valid_day", sources=WEAR),
    _days(
        "n_short_days", "Days worn for less than a valid day takes: too short",
        "n(0 < wear_min < valid_day_wear_min)", _WORN, sources=WEAR,
    ),
    _days(
        "n_unknown_days", "Days without samples that show for how long the device was worn, but with signs of wear",
        f"n(wear_min is null and any of {', '.join(WEAR_SIGNS)} > 0)", _SIGNS,
    ),
    _days(
        "n_not_worn_days", "Days without wear of a device that synchronised after their end in Japan",
        "n(days with a daily row, no wear and no sign of it, or without one and last_synced_at >= their end there)",
        f"{_SIGNS} {_ABSENT}",
    ),
    _days(
        "n_not_synced_days", "Days of which nothing is known yet",
        "n(days without a daily row, not before enrolment, last_synced_at < their end in Japan or null)", _ABSENT,
    ),
    _days(
        "n_not_enrolled_days", "Days before enrolment, without data",
        "n(days without a daily row before the participant's first enrolled_at, as a date in Japan)",
        "date user_id_map.enrolled_at",
    ),
    _status(
        "day_states", "", "The state of each of the seven days, Monday first",
        formula="A letter a day: V valid, S short, U unknown, N not worn, A not synced, E not enrolled, R revoked",
        rule="As the counts say. Null in rows that an older release computed",
        inputs=f"is_valid_day {_SIGNS} {_ABSENT}",
        type="string", sources=LINEAGE, nullable=False,
    ),
    # Silence
    _status(
        "last_worn_date", "", "Last day on which the device was worn",
        formula="last(date with wear_min > 0)",
        rule=f"Text YYYY-MM-DD, {LAST_28_DAYS}. Null without one, and when revoked", inputs="date wear_min",
        type="string", sources=LINEAGE, blanks=_OF_WEEK,
    ),
    _status(
        "last_night_date", "", "Last date with a night",
        formula="last(date with sleep_tst_min)",
        rule=f"Text YYYY-MM-DD, {LAST_28_DAYS}. Null without one, and when revoked: who has a last_worn_date and no "
        "last_night_date takes the device off at night, or sends no sleep",
        inputs="date sleep_tst_min", type="string", sources=LINEAGE, blanks=_OF_WEEK,
    ),
    _status(
        "last_synced_at", "UTC", "Latest receipt of a record",
        formula="max(last_received_at)",
        rule=f"Over the dates {LAST_28_DAYS}; if nothing came of them, over all weeks before. "
        "Null if nothing ever came, and when revoked",
        inputs="date last_received_at", type="timestamp", sources=LINEAGE, blanks=_OF_WEEK,
    ),
    _status(
        "days_since_last_sync", "d", "Whole days since the latest receipt",
        formula="floor((t - last_synced_at) / 24 h), at least 0",
        rule="t: computed_at, but no later than 09:05 in Japan on the Wednesday after the week, so that old weeks stay "
        "as they are. Null when last_synced_at is",
        inputs="date last_received_at", type="int64", sources=LINEAGE, blanks=_OF_WEEK,
    ),
    # Where the row comes from
    _status(
        "computed_at", "UTC", "When the week's values first came out so",
        type="timestamp", sources=LINEAGE, nullable=False,
    ),
    _status("metrics_version", "", "Version of these definitions", type="string", sources=LINEAGE, nullable=False),
)  # fmt: skip
