"""Every metric once: name, type, unit, range, formula, validity rule, inputs, sources, and what it says in English.
Schemas, column comments, Athena tables, range checks, lineage, the documentation and `qol metrics` are made from here.

Belongs here: facts about the output. The formulas themselves run in `daily.py`, `weekly.py` and `status.py`; a test
holds that each column has an entry and each entry a column. The Japanese texts are in `japanese.py`, by name. Standard
library only, so everyone may import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from qol_dagster.metrics.dictionary import sources as cited
from qol_dagster.metrics.dictionary.japanese import TEXTS, Japanese
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.metrics.types import COLUMN_TYPES, ColumnType, TableName

METRICS_VERSION = "1.1.0"
"""Goes up whenever a definition changes; written into every weekly row. Other words for the same change nothing."""

LONGEST_COMMENT = 255
"""The most characters that Glue takes as the comment of a column."""


@dataclass(frozen=True)
class Metric:
    """One column.

    `formula` gives the value, over the rows or samples that `rule` names; `rule` also says when there is none. Both
    name the thresholds instead of repeating their values. `minimum` and `maximum` are what can never be passed,
    whatever the input; a check holds them. Outside `plausible` a person's value deserves a second look, and nothing
    more. `inputs` are columns of the table before it: for a daily metric Garmin's `type.field`, for the others
    `daily_metrics` columns. What enrolment tells is `user_id_map.column`.
    """

    name: str
    table: TableName
    type: ColumnType
    unit: str
    description: str
    formula: str
    rule: str
    sources: tuple[Source, ...]
    inputs: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    plausible: tuple[float, float] | None = None
    nullable: bool = True

    @property
    def ibis_type(self) -> str:
        """The column's type inside an expression."""
        return COLUMN_TYPES[self.type].ibis

    @property
    def source(self) -> str:
        """The citations in one line."""
        return "; ".join(map(str, self.sources))

    @property
    def japanese(self) -> Japanese:
        """The term, description and rule in Japanese."""
        return TEXTS[self.table][self.name]

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Names of the thresholds that the formula or the rule speaks of."""
        words = set(re.findall(r"\w+", f"{self.formula} {self.rule}"))
        return tuple(name for name in DEFAULT_THRESHOLDS.as_dict() if name in words)

    @property
    def definition(self) -> str:
        """One line: description, unit, formula and rule. A formula of one name, such as `mean(steps)`, adds nothing."""
        unit = f" [{self.unit}]" if self.unit else ""
        formula = "" if re.fullmatch(r"\w+|\w+\(\w+\)", self.formula) else self.formula
        return ". ".join(part for part in (f"{self.description}{unit}", formula, self.rule) if part)

    @property
    def comment(self) -> str:
        """The definition as a column comment: its first sentences, as many as `LONGEST_COMMENT` takes."""
        text = self.definition
        while len(text) > LONGEST_COMMENT:
            whole = text.removesuffix(" ...")
            kept, _, _ = whole.rpartition(". " if ". " in whole else " ")
            text = f"{kept} ..."
        return text


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """The metrics by column name, in order."""
    return {metric.name: metric for metric in metrics}


GARMIN = (cited.GARMIN_HEALTH,)
ACTIVITIES = (cited.GARMIN_ACTIVITY,)
WEAR = (cited.TUDOR_LOCKE, cited.HERRMANN)
WHO = (cited.WHO_2020,)
RAPIDS = (cited.VEGA,)
SLEEP = (cited.GARMIN_HEALTH, cited.OHAYON)
HRV = (cited.GARMIN_HEALTH, cited.TASK_FORCE)
LN_HRV = (cited.PLEWS,)
LONG_NIGHTS = (cited.WATSON,)
CIRCULAR = (cited.MARDIA,)
JETLAG = (cited.WITTMANN, cited.MARDIA)
SRI = (cited.PHILLIPS,)
RHYTHM = (cited.WITTING, cited.VAN_SOMEREN)
LINEAGE = (cited.THIS_PROJECT,)


def _entry(
    table: TableName,
    name: str,
    unit: str,
    description: str,
    *,
    formula: str = "",
    rule: str = "",
    inputs: str = "",
    type: ColumnType = "float64",  # noqa: A002
    sources: tuple[Source, ...] = GARMIN,
    low: float | None = 0.0,
    high: float | None = None,
    plausible: tuple[float, float] | None = None,
    nullable: bool = True,
) -> Metric:
    """An entry; `inputs` are separated by spaces. Only numbers have a range, and none is below 0 unless said."""
    low = low if type in ("int64", "float64") else None
    names = tuple(inputs.split())
    return Metric(
        name, table, type, unit, description, formula, rule, sources, names, low, high, plausible, nullable
    )  # fmt: skip


_daily = partial(_entry, "daily")
_weekly = partial(_entry, "weekly")
_status = partial(_entry, "status")

_ID_RULE = "Comes from user_id_map when the metrics are computed. Garmin's own id is in no processed data"
_DAILIES = "Of the day's dailies record"
_DAILIES_FROM_0 = f"{_DAILIES}; a negative number is null"
_DAILIES_ABOVE_0 = f"{_DAILIES}; null when not above 0"
_BEATS = "dailies.timeOffsetHeartRateSamples"
_CLOCK = "dailies.startTimeInSeconds dailies.startTimeOffsetInSeconds"
_STRESS = "stressDetails.timeOffsetStressLevelValues"
_BATTERY = "stressDetails.timeOffsetBodyBatteryValues"
_SLEEP = "Main sleep of the date: the longest that is not OFF_WRIST or MANUAL. Null without one"
_ASLEEP = "sleeps.durationInSeconds sleeps.validation"
_IDLE = "sleeps.awakeDurationInSeconds sleeps.unmeasurableSleepInSeconds"
_TIMED = "Main sleep of the date. Minutes before midnight are negative. Null without start or offset"
_SLEEP_START = "sleeps.startTimeInSeconds sleeps.startTimeOffsetInSeconds"
_SLEEP_TIMES = f"{_SLEEP_START} sleeps.sleepLevelsMap {_ASLEEP} {_IDLE}"
_OXYGEN = "sleeps.timeOffsetSleepSpo2 pulseox.timeOffsetSpo2Values pulseox.onDemand"
_NEWEST = "Of the record received last; null when not above 0"
_SESSIONS = (
    "activities and manuallyUpdatedActivities by their local start date, parents left out. "
    "0 on a date with a dailies record and no activity"
)
_CURRENT = "Records that no later one supersedes"
_DAY_MINUTES = (0, 1440)


def _received(
    name: str, unit: str, description: str, field: str, plausible: tuple[float, float], *, rule: str = _DAILIES_FROM_0
) -> Metric:
    """A number that the dailies record holds under this name; durations are turned into minutes."""
    formula = f"{field} / 60" if field.endswith("InSeconds") else field
    return _daily(
        name, unit, description, formula=formula, rule=rule, inputs=f"dailies.{field}", plausible=plausible
    )  # fmt: skip


def _of_type(name: str, type_: str, rule: str = _CURRENT) -> Metric:
    return _daily(
        name, "n", f"Records of type {type_}", formula=f"n({type_})", rule=rule, inputs=f"{type_}.*",
        type="int64", sources=LINEAGE, nullable=False,
    )  # fmt: skip


DAILY: tuple[Metric, ...] = (
    _daily(
        "participant_id", "", "Pseudonymous participant",
        rule=_ID_RULE, inputs="user_id_map.participant_id", type="string", sources=LINEAGE, nullable=False,
    ),
    _daily(
        "date", "", "Local calendar date",
        formula="calendarDate, else the local date of the start, else the Japanese date of receipt",
        rule="Text YYYY-MM-DD", inputs="*.calendarDate *.startTimeInSeconds *.startTimeOffsetInSeconds *._received_at",
        type="string", nullable=False,
    ),
    # Wear
    _daily(
        "wear_min", "min", "Time the device was worn",
        formula="n(15-s slots with a heart rate) / 4, else 3 x n(stress samples other than -1)",
        rule="Null without samples of either", inputs=f"{_BEATS} {_STRESS}", sources=WEAR, plausible=_DAY_MINUTES,
    ),
    _daily(
        "wear_source", "", "What wear_min was told from",
        formula="heart_rate, else stress", rule="Null when wear_min is null", inputs=f"{_BEATS} {_STRESS}",
        type="string", sources=WEAR,
    ),
    _daily(
        "valid_minutes_hours", "h", "Hours of the day with data",
        formula="n(hours of the local clock with >= minutes_per_valid_hour minutes that have a heart rate)",
        rule="Null without heart-rate samples", inputs=f"{_BEATS} {_CLOCK}",
        type="int64", sources=RAPIDS, plausible=(0, 24),
    ),
    _daily(
        "is_valid_day", "", "Whether the day counts as worn",
        formula="wear_min >= valid_day_wear_min", rule="Null when wear_min is null", inputs=f"{_BEATS} {_STRESS}",
        type="bool", sources=WEAR,
    ),
    # Movement
    _received("steps", "n", "Steps", "steps", (0, 50_000)),
    _received("distance_m", "m", "Distance", "distanceInMeters", (0, 60_000)),
    _received("floors", "n", "Floors climbed", "floorsClimbed", (0, 200)),
    _received("active_kcal", "kcal", "Active energy, without resting metabolism", "activeKilocalories", (0, 5_000)),
    _received("active_min", "min", "Active time", "activeTimeInSeconds", (0, 960)),
    _received(
        "moderate_min", "min", "Moderate intensity", "moderateIntensityDurationInSeconds", (0, 600),
        rule=f"{_DAILIES_FROM_0}. Garmin may count only bouts of 10 min",
    ),
    _received(
        "vigorous_min", "min", "Vigorous intensity", "vigorousIntensityDurationInSeconds", (0, 300),
        rule=f"{_DAILIES_FROM_0}. Garmin may count only bouts of 10 min",
    ),
    # Heart rate
    _received(
        "resting_hr_bpm", "bpm", "Resting heart rate", "restingHeartRateInBeatsPerMinute", (30, 120),
        rule=_DAILIES_ABOVE_0,
    ),
    _daily(
        "hr_mean_bpm", "bpm", "Mean heart rate",
        formula="mean(samples > 0)",
        rule=f"{_DAILIES}. Never averageHeartRateInBeatsPerMinute, which is a 7-day average",
        inputs=_BEATS, plausible=(35, 150),
    ),
    _received(
        "hr_min_bpm", "bpm", "Lowest heart rate", "minHeartRateInBeatsPerMinute", (25, 110), rule=_DAILIES_ABOVE_0
    ),
    _received(
        "hr_max_bpm", "bpm", "Highest heart rate", "maxHeartRateInBeatsPerMinute", (50, 220), rule=_DAILIES_ABOVE_0
    ),
    # Stress and Body Battery
    _daily(
        "stress_mean", "1-100", "Mean stress",
        formula="averageStressLevel, else mean(samples >= 0)",
        rule="A negative averageStressLevel counts as missing. Samples of all stressDetails records of the date",
        inputs=f"dailies.averageStressLevel {_STRESS}", plausible=(1, 100),
    ),
    _received("stress_rest_min", "min", "Time at rest (stress 1-25)", "restStressDurationInSeconds", _DAY_MINUTES),
    _received("stress_low_min", "min", "Time in low stress (26-50)", "lowStressDurationInSeconds", _DAY_MINUTES),
    _received(
        "stress_medium_min", "min", "Time in medium stress (51-75)", "mediumStressDurationInSeconds", _DAY_MINUTES
    ),
    _received(
        "stress_high_min", "min", "Time in high stress (76-100)", "highStressDurationInSeconds", _DAY_MINUTES,
        rule=f"{_DAILIES_FROM_0}. More than a day is seen in real data and left as received",
    ),
    _daily(
        "body_battery_max", "points", "Highest Body Battery",
        formula="max(samples >= 0)", rule="Samples of all stressDetails records of the date", inputs=_BATTERY,
        plausible=(0, 100),
    ),
    _daily(
        "body_battery_min", "points", "Lowest Body Battery",
        formula="min(samples >= 0)", rule="Samples of all stressDetails records of the date", inputs=_BATTERY,
        plausible=(0, 100),
    ),
    _received("body_battery_charged", "points", "Body Battery charged", "bodyBatteryChargedValue", (0, 100)),
    _received("body_battery_drained", "points", "Body Battery drained", "bodyBatteryDrainedValue", (0, 100)),
    # Sleep
    _daily(
        "sleep_tst_min", "min", "Total sleep time",
        formula="durationInSeconds / 60", rule=_SLEEP, inputs=_ASLEEP, plausible=(120, 840),
    ),
    _daily(
        "sleep_tib_min", "min", "Time in bed",
        formula="(duration + awake + unmeasurable) / 60", rule=f"{_SLEEP}; a missing awake or unmeasurable counts 0",
        inputs=f"{_ASLEEP} {_IDLE}", sources=SLEEP, plausible=(120, 960),
    ),
    _daily(
        "sleep_waso_min", "min", "Time awake after sleep onset",
        formula="awakeDurationInSeconds / 60", rule=_SLEEP, inputs=f"{_ASLEEP} sleeps.awakeDurationInSeconds",
        sources=SLEEP, plausible=(0, 240),
    ),
    _daily(
        "sleep_efficiency_pct", "%", "Sleep efficiency",
        formula="100 sleep_tst_min / sleep_tib_min", rule=_SLEEP, inputs=f"{_ASLEEP} {_IDLE}",
        sources=SLEEP, high=100.0, plausible=(50, 100),
    ),
    _daily(
        "sleep_deep_pct", "%", "Share of deep sleep",
        formula="100 deep / duration", rule=_SLEEP, inputs=f"{_ASLEEP} sleeps.deepSleepDurationInSeconds",
        plausible=(0, 60),
    ),
    _daily(
        "sleep_light_pct", "%", "Share of light sleep",
        formula="100 light / duration", rule=_SLEEP, inputs=f"{_ASLEEP} sleeps.lightSleepDurationInSeconds",
        plausible=(0, 100),
    ),
    _daily(
        "sleep_rem_pct", "%", "Share of REM sleep",
        formula="100 rem / duration", rule=_SLEEP, inputs=f"{_ASLEEP} sleeps.remSleepInSeconds", plausible=(0, 60),
    ),
    _daily(
        "sleep_start_min", "min", "Start of the main sleep, local minutes from midnight of the date",
        formula="(start + offset - midnight) / 60", rule=_TIMED, inputs=f"{_SLEEP_START} {_ASLEEP}", low=None,
    ),
    _daily(
        "sleep_end_min", "min", "End of the main sleep, local minutes from midnight of the date",
        formula="last end in sleepLevelsMap, else start + duration + awake + unmeasurable", rule=_TIMED,
        inputs=_SLEEP_TIMES, low=None,
    ),
    _daily(
        "midsleep_min", "min", "Middle of the main sleep, local minutes from midnight of the date",
        formula="(sleep_start_min + sleep_end_min) / 2", rule=_TIMED, inputs=_SLEEP_TIMES, low=None,
    ),
    _daily(
        "asleep_by_hour", "bits[24]", "Minutes asleep in the main sleep, by hour of the local clock",
        formula="bit m of hour h: minute h:m lies in the main sleep and in no awake interval",
        rule="Every night on one clock, also what was before midnight. Null without a main sleep on the local clock",
        inputs=_SLEEP_TIMES, type="list<int64>",
    ),
    # Overnight and other measurements
    _daily(
        "hrv_rmssd_ms", "ms", "Overnight heart-rate variability (RMSSD)",
        formula="lastNightAvg", rule=_NEWEST, inputs="hrv.lastNightAvg", sources=HRV, plausible=(5, 200),
    ),
    _daily(
        "spo2_mean_pct", "%", "Mean blood oxygen",
        formula="mean(samples > 0)", rule="Samples of the main sleep, else of the pulse-ox records not taken on demand",
        inputs=_OXYGEN, plausible=(80, 100),
    ),
    _daily(
        "spo2_lt90_pct", "%", "Share of blood-oxygen samples below 90 %",
        formula="100 n(samples < 90) / n(samples > 0)", rule="Of the same samples as spo2_mean_pct", inputs=_OXYGEN,
        high=100.0,
    ),
    _daily(
        "resp_sleep_brpm", "1/min", "Breathing rate asleep",
        formula="mean(samples > 0)", rule="Samples of the main sleep", inputs="sleeps.timeOffsetSleepRespiration",
        plausible=(6, 30),
    ),
    _daily(
        "resp_day_brpm", "1/min", "Breathing rate over the day",
        formula="mean(samples > 0)", rule="Samples of all allDayRespiration records of the date",
        inputs="allDayRespiration.timeOffsetEpochToBreaths", plausible=(6, 40),
    ),
    _daily(
        "vo2max", "ml/kg/min", "Maximal oxygen uptake as estimated by the device",
        formula="vo2Max", rule=_NEWEST, inputs="userMetrics.vo2Max", plausible=(10, 90),
    ),
    _daily(
        "fitness_age", "y", "Fitness age as estimated by the device",
        formula="fitnessAge", rule=_NEWEST, inputs="userMetrics.fitnessAge", plausible=(15, 100),
    ),
    _daily(
        "exercise_sessions", "n", "Recorded activities",
        formula="n(activities)", rule=_SESSIONS, inputs="activities.summaryId activities.isParent",
        type="int64", sources=ACTIVITIES, plausible=(0, 20),
    ),
    _daily(
        "exercise_min", "min", "Duration of the recorded activities",
        formula="sum(durationInSeconds) / 60", rule=_SESSIONS,
        inputs="activities.durationInSeconds activities.isParent", sources=ACTIVITIES, plausible=(0, 960),
    ),
    _daily(
        "steps_by_hour", "n[24]", "Steps by local hour",
        formula="hour h: sum of the steps of the epochs that start in it",
        rule="An hour without any epoch is null. Null without epochs",
        inputs="epochs.steps epochs.startTimeInSeconds epochs.startTimeOffsetInSeconds", type="list<float64>",
    ),
    # Where the row comes from
    _daily(
        "n_records", "n", "Records used",
        formula="n(records)", rule=f"{_CURRENT}, of every type", inputs="*",
        type="int64", sources=LINEAGE, low=1, nullable=False,
    ),
    _of_type("n_dailies", "dailies"),
    _of_type("n_sleeps", "sleeps", f"{_CURRENT}, off-wrist ones too"),
    _of_type("n_stress", "stressDetails"),
    _of_type("n_hrv", "hrv"),
    _daily(
        "last_received_at", "UTC", "Latest receipt of a record used",
        formula="max(_received_at)", rule=_CURRENT, inputs="*._received_at", type="timestamp", sources=LINEAGE,
    ),
    _daily(
        "sync_lag_h", "h", "From the end of the dailies record to its receipt",
        formula="(received - (start + duration)) / 3600",
        rule=f"{_DAILIES}. Negative when the record was received before its end",
        inputs="dailies._received_at dailies.startTimeInSeconds dailies.durationInSeconds",
        sources=LINEAGE, low=None, plausible=(-24, 336),
    ),
)  # fmt: skip

_V = "Over valid days with a value"
_ALL = "Over all days with a value"
_NIGHTS = "Over nights with a main sleep, on any day"
_VALUE_NIGHTS = "Over nights with a value, on any day"
_LAST = "Last value of the week, on any day"
_STRESS_MINUTES = "is_valid_day stress_rest_min stress_low_min stress_medium_min stress_high_min"
_WEEK, _28D = "of the week", "of the 28 days that end with the week"


def _mean(
    name: str, unit: str, what: str, column: str, plausible: tuple[float, float], *, high: float | None = None
) -> Metric:
    """The mean of a daily column over the valid days."""
    return _weekly(
        name, unit, f"Mean {what}", formula=f"mean({column})", rule=_V, inputs=f"is_valid_day {column}",
        high=high, plausible=plausible,
    )  # fmt: skip


def _night_mean(
    name: str, unit: str, what: str, column: str, plausible: tuple[float, float], *, per: int = 1,
    high: float | None = None, sources: tuple[Source, ...] = GARMIN,
) -> Metric:  # fmt: skip
    """The mean of a daily column over the nights, in `per`ths of its unit."""
    formula = f"mean({column})" if per == 1 else f"mean({column}) / {per}"
    inputs = column if column == "sleep_tst_min" else f"{column} sleep_tst_min"
    return _weekly(
        name, unit, f"Mean {what}", formula=formula, rule=_NIGHTS, inputs=inputs, sources=sources,
        high=high, plausible=plausible,
    )  # fmt: skip


def _sum(name: str, unit: str, what: str, column: str, plausible: tuple[float, float]) -> Metric:
    """The sum of a daily column over all days."""
    return _weekly(
        name, unit, what, formula=f"sum({column})", rule=_ALL, inputs=column, plausible=plausible
    )  # fmt: skip


def _denominator(name: str, unit: str, of: str, *, formula: str, rule: str, inputs: str, high: int = 7) -> Metric:
    """How many days, nights or hours the metrics named in `of` are made from."""
    return _weekly(
        name, unit, f"Denominator of {of}", formula=formula, rule=rule, inputs=inputs,
        type="int64", sources=LINEAGE, nullable=False, high=high,
    )  # fmt: skip


def _valid_days(name: str, of: str, column: str) -> Metric:
    """The denominator of means over the valid days."""
    return _denominator(name, "d", of, formula=f"n({column})", rule=_V, inputs=f"is_valid_day {column}")


def _completeness(name: str, type_: str) -> Metric:
    column = f"n_{name}"
    return _weekly(
        f"completeness_{name}", "1", f"Share of the week's dates with any record of type {type_}",
        formula=f"n(dates with {column} > 0) / 7", inputs=column, sources=RAPIDS, high=1, nullable=False,
    )  # fmt: skip


def _regularity(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """The sleep regularity index over so many days; `over` says which."""
    sri, pairs = f"sleep_regularity_index{suffix}", f"n_sleep_pairs{suffix}"
    rule = f"Pairs of consecutive dates {over} that both have a main sleep on the local clock"
    inputs = "asleep_by_hour date"
    return (
        _weekly(
            sri, "1", "Sleep regularity index",
            formula=f"-100 + 200 / (1440 {pairs}) sum [s(d, m) = s(d + 1, m)], s: asleep in minute m of date d",
            rule=f"{rule}, at least regularity_night_pairs",
            inputs=inputs, sources=SRI, low=-100, high=100, plausible=(0, 100),
        ),
        _denominator(pairs, "n", sri, formula="n(pairs)", rule=rule, inputs=inputs, high=days - 1),
    )  # fmt: skip


def _rhythm(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """The nonparametric measures of the rest-activity rhythm over so many days; `over` says which."""
    names = [f"{name}{suffix}" for name in ("interdaily_stability", "intradaily_variability", "relative_amplitude")]
    hours = f"Hourly steps x {over}, hours with data only, at least rhythm_step_hours"
    whole = f"{hours}, every hour of the clock among them"
    inputs = "steps_by_hour date"
    return (
        _weekly(
            names[0], "1", "Interdaily stability of hourly steps",
            formula="n sum_h (mean_h - mean)^2 / (24 sum_i (x_i - mean)^2)",
            rule=whole, inputs=inputs, sources=RHYTHM, plausible=(0, 1),
        ),
        _weekly(
            names[1], "1", "Intradaily variability of hourly steps",
            formula="n sum (x_i - x_i-1)^2 / (a sum (x_i - mean)^2), a pairs of adjacent hours",
            rule=hours, inputs=inputs, sources=RHYTHM, plausible=(0, 3),
        ),
        _weekly(
            names[2], "1", "Relative amplitude of hourly steps",
            formula="(M10 - L5) / (M10 + L5) of the mean 24-h profile",
            rule=f"{whole}. M10, L5: mean of the 10 most and 5 least active hours in a row, also over midnight",
            inputs=inputs, sources=RHYTHM, high=1,
        ),
        _denominator(
            f"n_step_hours{suffix}", "h", f"{names[0]}, {names[1]} and {names[2]}",
            formula="n(x)", rule=f"Hours {over} with an epoch", inputs=inputs, high=24 * days,
        ),
    )  # fmt: skip


WEEKLY: tuple[Metric, ...] = (
    _weekly(
        "participant_id", "", "Pseudonymous participant",
        rule=_ID_RULE, inputs="participant_id", type="string", sources=LINEAGE, nullable=False,
    ),
    _weekly(
        "date", "", "Monday of the ISO week",
        rule="Partition column, text YYYY-MM-DD", inputs="date", type="string", sources=LINEAGE, nullable=False,
    ),
    # Wear and completeness
    _weekly(
        "n_days", "d", "Dates with any record",
        formula="n(date)", inputs="date", type="int64", sources=LINEAGE, low=1, high=7, nullable=False,
    ),
    _weekly(
        "n_valid_days", "d", "Valid days",
        formula="n(is_valid_day)", inputs="is_valid_day", type="int64", sources=WEAR, high=7, nullable=False,
    ),
    _weekly(
        "n_valid_weekend_days", "d", "Valid Saturdays and Sundays",
        formula="n(is_valid_day)", rule="Saturday and Sunday", inputs="is_valid_day date",
        type="int64", sources=WEAR, high=2, nullable=False,
    ),
    _weekly(
        "is_valid_week", "", "Whether the week counts as worn",
        formula="n_valid_days >= valid_week_days and n_valid_weekend_days >= valid_week_weekend_days",
        inputs="is_valid_day date", type="bool", sources=WEAR, nullable=False,
    ),
    _weekly(
        "yield_hours", "1", "Share of the week's hours with data",
        formula="sum(valid_minutes_hours) / 168", rule=_ALL, inputs="valid_minutes_hours",
        sources=RAPIDS, plausible=(0, 1),
    ),
    _completeness("dailies", "dailies"),
    _completeness("sleeps", "sleeps"),
    _completeness("stress", "stressDetails"),
    _completeness("hrv", "hrv"),
    _weekly(
        "wear_min_mean", "min", "Mean wear time",
        formula="mean(wear_min)", rule=_ALL, inputs="wear_min", sources=WEAR, plausible=_DAY_MINUTES,
    ),
    _denominator("n_wear_days", "d", "wear_min_mean", formula="n(wear_min)", rule=_ALL, inputs="wear_min"),
    _weekly(
        "sync_lag_h_median", "h", "Median delay of synchronisation",
        formula="median(sync_lag_h)", rule=_ALL, inputs="sync_lag_h", sources=LINEAGE, low=None, plausible=(-24, 336),
    ),
    # Movement
    _mean("steps_mean", "n/d", "steps a day", "steps", (0, 50_000)),
    _weekly(
        "steps_median", "n/d", "Median steps a day",
        formula="median(steps)", rule=_V, inputs="is_valid_day steps", plausible=(0, 50_000),
    ),
    _weekly(
        "steps_sd", "n/d", "Sample SD of steps a day",
        formula="sd(steps)", rule=f"{_V}, at least 2", inputs="is_valid_day steps", plausible=(0, 25_000),
    ),
    _weekly(
        "steps_sum", "n", "Steps",
        formula="sum(steps)", rule=_V, inputs="is_valid_day steps", plausible=(0, 350_000),
    ),
    _weekly(
        "steps_per_wear_h", "n/h", "Steps per hour of wear",
        formula="sum(steps) / sum(wear_min / 60)", rule="Over valid days that have both",
        inputs="is_valid_day steps wear_min", plausible=(0, 3_000),
    ),
    _valid_days("n_steps_days", "steps_mean, _median, _sd and _sum", "steps"),
    _mean("distance_m_mean", "m/d", "distance", "distance_m", (0, 60_000)),
    _mean("floors_mean", "n/d", "floors climbed", "floors", (0, 200)),
    _mean("active_kcal_mean", "kcal/d", "active energy", "active_kcal", (0, 5_000)),
    _mean("active_min_mean", "min/d", "active time", "active_min", (0, 960)),
    _sum("moderate_min_sum", "min", "Moderate intensity", "moderate_min", (0, 4_200)),
    _sum("vigorous_min_sum", "min", "Vigorous intensity", "vigorous_min", (0, 2_100)),
    _weekly(
        "mvpa_equiv_min", "min", "Moderate-equivalent minutes",
        formula="moderate_min_sum + 2 vigorous_min_sum", rule="A missing one counts 0; null if both are missing",
        inputs="moderate_min vigorous_min", sources=WHO, plausible=(0, 4_200),
    ),
    _weekly(
        "who_activity", "", "Activity against the WHO recommendation",
        formula="mvpa_equiv_min: below < 150 <= meets <= 300 < exceeds",
        rule="Below 150 with fewer than 7 valid days: unknown. "
        "Garmin may count only bouts of 10 min, WHO 2020 counts any",
        inputs="is_valid_day moderate_min vigorous_min", type="string", sources=WHO,
    ),
    # Heart rate
    _mean("resting_hr_mean", "bpm", "resting heart rate", "resting_hr_bpm", (30, 120)),
    _weekly(
        "resting_hr_slope", "bpm/d", "Trend of the resting heart rate",
        formula="sum (t - mean_t)(x - mean_x) / sum (t - mean_t)^2, t = 0..6",
        rule="Least squares of resting_hr_bpm on the day of the week, over valid days with a value, at least 3",
        inputs="is_valid_day resting_hr_bpm date", low=None, plausible=(-5, 5),
    ),
    _valid_days("n_resting_hr_days", "resting_hr_mean and _slope", "resting_hr_bpm"),
    _mean("hr_mean", "bpm", "of the daily mean heart rate", "hr_mean_bpm", (35, 150)),
    _valid_days("n_hr_days", "hr_mean", "hr_mean_bpm"),
    _weekly(
        "hrv_rmssd_mean", "ms", "Mean overnight RMSSD",
        formula="mean(hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms", sources=HRV, plausible=(5, 200),
    ),
    _weekly(
        "hrv_ln_rmssd_mean", "ln ms", "Mean of ln RMSSD",
        formula="mean(ln hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms", sources=LN_HRV,
        low=None, plausible=(1.6, 5.3),
    ),
    _weekly(
        "hrv_cv_pct", "%", "Coefficient of variation of RMSSD",
        formula="100 sd(hrv_rmssd_ms) / mean(hrv_rmssd_ms)", rule=f"{_VALUE_NIGHTS}, at least 2",
        inputs="hrv_rmssd_ms", sources=LN_HRV, plausible=(0, 100),
    ),
    _denominator(
        "n_hrv_nights", "n", "hrv_rmssd_mean, hrv_ln_rmssd_mean and hrv_cv_pct",
        formula="n(hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms",
    ),
    # Stress and Body Battery
    _mean("stress_mean", "1-100", "stress", "stress_mean", (1, 100)),
    _weekly(
        "stress_high_pct", "%", "Share of high stress",
        formula="100 sum(high) / sum(rest + low + medium + high)", rule="Minutes, summed over valid days",
        inputs=_STRESS_MINUTES, high=100,
    ),
    _weekly(
        "stress_rest_pct", "%", "Share of rest",
        formula="100 sum(rest) / sum(rest + low + medium + high)", rule="Minutes, summed over valid days",
        inputs=_STRESS_MINUTES, high=100,
    ),
    _valid_days("n_stress_days", "stress_mean", "stress_mean"),
    _mean("body_battery_max_mean", "points", "of the daily highest Body Battery", "body_battery_max", (0, 100)),
    _mean("body_battery_min_mean", "points", "of the daily lowest Body Battery", "body_battery_min", (0, 100)),
    _mean("body_battery_charged_mean", "points", "Body Battery charged", "body_battery_charged", (0, 100)),
    _mean("body_battery_drained_mean", "points", "Body Battery drained", "body_battery_drained", (0, 100)),
    # Sleep
    _night_mean("sleep_tst_h_mean", "h", "total sleep time", "sleep_tst_min", (2, 14), per=60),
    _weekly(
        "sleep_tst_h_sd", "h", "Sample SD of total sleep time",
        formula="sd(sleep_tst_min) / 60", rule=f"{_NIGHTS}, at least 2", inputs="sleep_tst_min", plausible=(0, 5),
    ),
    _night_mean("sleep_tib_h_mean", "h", "time in bed", "sleep_tib_min", (2, 16), per=60, sources=SLEEP),
    _night_mean(
        "sleep_efficiency_mean", "%", "sleep efficiency", "sleep_efficiency_pct", (50, 100),
        high=100.0000001, sources=SLEEP,
    ),
    _night_mean(
        "sleep_waso_min_mean", "min", "time awake after sleep onset", "sleep_waso_min", (0, 240), sources=SLEEP
    ),
    _night_mean("sleep_deep_pct_mean", "%", "share of deep sleep", "sleep_deep_pct", (0, 60)),
    _night_mean("sleep_light_pct_mean", "%", "share of light sleep", "sleep_light_pct", (0, 100)),
    _night_mean("sleep_rem_pct_mean", "%", "share of REM sleep", "sleep_rem_pct", (0, 60)),
    _denominator(
        "n_nights", "n", "the sleep means", formula="n(sleep_tst_min)", rule=_NIGHTS, inputs="sleep_tst_min"
    ),
    _weekly(
        "midsleep_mean_min", "min", "Circular mean of midsleep, local minutes from midnight",
        formula="atan2(mean sin a, mean cos a) in (-720, 720], a = 2 pi midsleep_min / 1440", rule=_VALUE_NIGHTS,
        inputs="midsleep_min", sources=CIRCULAR, low=-720, high=720,
    ),
    _weekly(
        "midsleep_sd_min", "min", "Circular SD of midsleep",
        formula="1440 / (2 pi) sqrt(-2 ln R), R = length of the mean (cos a, sin a), a = 2 pi midsleep_min / 1440",
        rule=f"{_VALUE_NIGHTS}, at least 2", inputs="midsleep_min", sources=CIRCULAR, plausible=(0, 360),
    ),
    _denominator(
        "n_midsleep_nights", "n", "midsleep_mean_min and _sd_min",
        formula="n(midsleep_min)", rule=_VALUE_NIGHTS, inputs="midsleep_min",
    ),
    _weekly(
        "social_jetlag_min", "min", "Midsleep of free days minus working days",
        formula="midsleep(Sat, Sun) - midsleep(Mon-Fri), circular, in (-720, 720]",
        rule="Circular means over the nights that end on these days. Null if either is missing",
        inputs="midsleep_min date", sources=JETLAG, low=-720, high=720, plausible=(-240, 360),
    ),
    _weekly(
        "nights_ge7h_pct", "%", "Share of nights of 7 h and more",
        formula="100 n(sleep_tst_min >= 420) / n_nights", rule=_NIGHTS, inputs="sleep_tst_min",
        sources=LONG_NIGHTS, high=100,
    ),
    *_regularity("", 7, _WEEK),
    *_regularity("_28d", 28, _28D),
    # Blood oxygen, breathing, fitness
    _mean("spo2_mean", "%", "blood oxygen", "spo2_mean_pct", (80, 100)),
    _mean(
        "spo2_lt90_pct_mean", "%", "share of blood-oxygen samples below 90 %", "spo2_lt90_pct", (0, 100),
        high=100.0000001,
    ),
    _valid_days("n_spo2_days", "spo2_mean and spo2_lt90_pct_mean", "spo2_mean_pct"),
    _mean("resp_sleep_mean", "1/min", "breathing rate asleep", "resp_sleep_brpm", (6, 30)),
    _valid_days("n_resp_sleep_days", "resp_sleep_mean", "resp_sleep_brpm"),
    _mean("resp_day_mean", "1/min", "breathing rate over the day", "resp_day_brpm", (6, 40)),
    _valid_days("n_resp_day_days", "resp_day_mean", "resp_day_brpm"),
    _weekly(
        "vo2max_last", "ml/kg/min", "Maximal oxygen uptake",
        formula="last(vo2max)", rule=_LAST, inputs="vo2max date", plausible=(10, 90),
    ),
    _weekly(
        "fitness_age_last", "y", "Fitness age",
        formula="last(fitness_age)", rule=_LAST, inputs="fitness_age date", plausible=(15, 100),
    ),
    # Rhythm of rest and activity
    *_rhythm("", 7, _WEEK),
    *_rhythm("_28d", 28, _28D),
    # Exercise
    _weekly(
        "exercise_sessions_sum", "n", "Recorded activities",
        formula="sum(exercise_sessions)", rule=_ALL, inputs="exercise_sessions", type="int64",
        sources=ACTIVITIES, plausible=(0, 140),
    ),
    _weekly(
        "exercise_min_sum", "min", "Duration of the recorded activities",
        formula="sum(exercise_min)", rule=_ALL, inputs="exercise_min", sources=ACTIVITIES, plausible=(0, 6_720),
    ),
    # Where the row comes from
    _weekly(
        "n_records", "n", "Records used",
        formula="sum(n_records)", rule="Over all days", inputs="n_records",
        type="int64", sources=LINEAGE, low=1, nullable=False,
    ),
    _weekly(
        "last_received_at", "UTC", "Latest receipt of a record used",
        formula="max(last_received_at)", rule="Over all days", inputs="last_received_at",
        type="timestamp", sources=LINEAGE,
    ),
    _weekly("computed_at", "UTC", "When the row was computed", type="timestamp", sources=LINEAGE, nullable=False),
    _weekly("metrics_version", "", "Version of these definitions", type="string", sources=LINEAGE, nullable=False),
)  # fmt: skip

_NOTHING_OF_REVOKED = "0 when revoked"
_WORN = "is_valid_day wear_min"
_ABSENT = "date last_received_at user_id_map.enrolled_at"


def _days(name: str, description: str, formula: str, inputs: str, *, sources: tuple[Source, ...] = LINEAGE) -> Metric:
    """How many of the week's days are in one of the five states."""
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
        formula="The first that holds of revoked, valid, too_short, not_enrolled, not_worn, not_synced",
        rule="revoked: no account may be used. valid: n_valid_days >= valid_week_days and valid weekend days >= "
        "valid_week_weekend_days. too_short: any day worn. not_enrolled: all days before enrolment. "
        "not_worn: any such day",
        inputs=f"{_WORN} {_ABSENT} user_id_map.status", type="string", sources=WEAR, nullable=False,
    ),
    # The seven days
    _days("n_valid_days", "Valid days", "n(is_valid_day)", "is_valid_day", sources=WEAR),
    _days("n_short_days", "Days worn, but not valid", "n(wear_min > 0 and not is_valid_day)", _WORN, sources=WEAR),
    _days(
        "n_not_worn_days", "Days without wear of a device that synchronised",
        "n(days with a daily row and no wear, or without a row and last_synced_at >= their end in Japan)",
        f"wear_min {_ABSENT}",
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
    # Silence
    _status(
        "last_worn_date", "", "Last day on which the device was worn",
        formula="last(date with wear_min > 0)",
        rule=f"Text YYYY-MM-DD, {_28D}. Null without one, and when revoked", inputs="date wear_min",
        type="string", sources=LINEAGE,
    ),
    _status(
        "last_synced_at", "UTC", "Latest receipt of a record",
        formula="max(last_received_at)",
        rule=f"Over the dates {_28D}; if nothing came of them, over all weeks before. "
        "Null if nothing ever came, and when revoked",
        inputs="date last_received_at", type="timestamp", sources=LINEAGE,
    ),
    _status(
        "days_since_last_sync", "d", "Whole days since the latest receipt",
        formula="floor((t - last_synced_at) / 24 h), at least 0",
        rule="t: computed_at, but no later than 09:05 in Japan on the Wednesday after the week, so that old weeks stay "
        "as they are. Null when last_synced_at is",
        inputs="date last_received_at", type="int64", sources=LINEAGE,
    ),
    # Where the row comes from
    _status("computed_at", "UTC", "When the row was computed", type="timestamp", sources=LINEAGE, nullable=False),
    _status("metrics_version", "", "Version of these definitions", type="string", sources=LINEAGE, nullable=False),
)  # fmt: skip

READ_BY_STATUS = tuple(one for one in DAILY if any(one.name in metric.inputs for metric in STATUS))
"""The daily columns that status rows are made from."""

TABLES: dict[TableName, tuple[Metric, ...]] = {"daily": DAILY, "weekly": WEEKLY, "status": STATUS}
"""All tables. What is made from the dictionary is made for each of them."""
