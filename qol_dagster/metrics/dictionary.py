"""Every metric once: name, type, unit, formula, validity rule, source. Schemas, column comments, range checks and
the documentation are generated from here.

Belongs here: facts about the output. The formulas themselves run in `daily.py` and `weekly.py`; a test holds that
each column has an entry and each entry a column. Standard library only, so everyone may import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

METRICS_VERSION = "1.1.0"
"""Goes up whenever a definition changes; written into every weekly row."""

TRAILING_WEEKS = 4
"""How many weeks the `..._28d` columns look over, the week itself included."""

ColumnType = Literal["string", "int64", "float64", "bool", "timestamp", "list<float64>", "list<int64>"]


@dataclass(frozen=True)
class Thresholds:
    """The limits that decide validity; one named set, written into the metadata of every run.

    The usual convention is 10 h of wear (Tudor-Locke 2012, Herrmann 2013); published work recommends up to 13 h.
    """

    valid_day_wear_min: int = 600
    valid_week_days: int = 4
    valid_week_weekend_days: int = 1
    minutes_per_valid_hour: int = 40
    rhythm_step_hours: int = 72
    regularity_night_pairs: int = 3

    def as_dict(self) -> dict[str, int]:
        """The thresholds by name."""
        return asdict(self)


DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Metric:
    """One column. `minimum` and `maximum` are what can never be passed, whatever the input; a check holds them.

    `inputs` are columns of the table before it: for a daily metric Garmin's `type.field`, for a weekly one
    `daily_metrics` columns.
    """

    name: str
    table: Literal["daily", "weekly"]
    type: ColumnType
    unit: str
    description: str
    rule: str
    source: str
    inputs: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = True

    @property
    def ibis_type(self) -> str:
        """The column's type inside an expression; a time is int64 there, milliseconds since 1970 UTC."""
        types: dict[str, str] = {
            "bool": "boolean",
            "timestamp": "int64",
            "list<float64>": "array<float64>",
            "list<int64>": "array<int64>",
        }
        return types.get(self.type, self.type)

    @property
    def comment(self) -> str:
        """One line for a column comment: description, unit and rule."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.description}{unit}. {self.rule}".strip()


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """The metrics by column name, in order."""
    return {metric.name: metric for metric in metrics}


GARMIN = "Garmin Health API 1.2"
WEAR = "Tudor-Locke 2012; Herrmann 2013"
WHO = "WHO 2020 guidelines (PMC7719906)"
RAPIDS = "RAPIDS data yield"
CIRCULAR = "circular statistics on 24 h (Mardia & Jupp 2000)"
SRI = "Phillips 2017 (doi:10.1038/s41598-017-03171-4)"
RHYTHM = "Witting 1990; van Someren 1999 (doi:10.3109/07420529908998724)"
LINEAGE = "this project"


def _daily(
    name: str,
    unit: str,
    description: str,
    rule: str = "",
    *inputs: str,
    type: ColumnType = "float64",  # noqa: A002
    source: str = GARMIN,
    low: float | None = 0.0,
    high: float | None = None,
    nullable: bool = True,
) -> Metric:
    return Metric(name, "daily", type, unit, description, rule, source, inputs, low, high, nullable)


def _weekly(
    name: str,
    unit: str,
    description: str,
    rule: str = "",
    *inputs: str,
    type: ColumnType = "float64",  # noqa: A002
    source: str = GARMIN,
    low: float | None = 0.0,
    high: float | None = None,
    nullable: bool = True,
) -> Metric:
    return Metric(name, "weekly", type, unit, description, rule, source, inputs, low, high, nullable)


_ID_RULE = "Comes from user_id_map when the metrics are computed; Garmin's own id is in no processed data"
_AS_RECEIVED = "As received"
_MIN = "Seconds / 60"
_SAMPLES = "dailies.timeOffsetHeartRateSamples"
_STRESS = "stressDetails.timeOffsetStressLevelValues"
_BATTERY = "stressDetails.timeOffsetBodyBatteryValues"
_SLEEP = "Main sleep of the date: not OFF_WRIST or MANUAL, the longest"
_TIMED = "Null without start or offset. Minutes before midnight of the date are negative"
_TIMES = ("sleeps.startTimeInSeconds", "sleeps.startTimeOffsetInSeconds", "sleeps.sleepLevelsMap")

DAILY: tuple[Metric, ...] = (
    _daily("participant_id", "", "Pseudonymous participant", _ID_RULE, "user_id_map.participant_id", type="string", source=LINEAGE, low=None, nullable=False),
    _daily("date", "", "Local calendar date", "calendarDate, else the local date of the start, else the Japanese date of receipt", "*.calendarDate", "*.startTimeInSeconds", type="string", low=None, nullable=False),
    _daily("wear_min", "min", "Time the device was worn", "Distinct 15-s slots with a heart rate > 0, / 4; without any, 3 x the stress samples that are not -1; else null", _SAMPLES, _STRESS, source=WEAR),
    _daily("wear_source", "", "What wear_min was told from", "heart_rate or stress", _SAMPLES, _STRESS, type="string", low=None, source=WEAR),
    _daily("valid_minutes_hours", "h", "Hours of the day with data", "Hours with at least 40 minutes that have a heart-rate slot; null without heart-rate samples", _SAMPLES, type="int64", source=RAPIDS),
    _daily("is_valid_day", "", "Whether the day counts as worn", "wear_min >= 600; null when wear_min is null", _SAMPLES, _STRESS, type="bool", low=None, source=WEAR),
    _daily("steps", "n", "Steps", _AS_RECEIVED, "dailies.steps"),
    _daily("distance_m", "m", "Distance", _AS_RECEIVED, "dailies.distanceInMeters"),
    _daily("floors", "n", "Floors climbed", _AS_RECEIVED, "dailies.floorsClimbed"),
    _daily("active_kcal", "kcal", "Active energy, without resting metabolism", _AS_RECEIVED, "dailies.activeKilocalories"),
    _daily("active_min", "min", "Active time", _MIN, "dailies.activeTimeInSeconds"),
    _daily("moderate_min", "min", "Moderate intensity", f"{_MIN}. Garmin may count only bouts of 10 min", "dailies.moderateIntensityDurationInSeconds"),
    _daily("vigorous_min", "min", "Vigorous intensity", _MIN, "dailies.vigorousIntensityDurationInSeconds"),
    _daily("resting_hr_bpm", "bpm", "Resting heart rate", _AS_RECEIVED, "dailies.restingHeartRateInBeatsPerMinute"),
    _daily("hr_mean_bpm", "bpm", "Mean heart rate", "Mean of the samples > 0; never averageHeartRateInBeatsPerMinute, which is a 7-day average", _SAMPLES),
    _daily("hr_min_bpm", "bpm", "Lowest heart rate", _AS_RECEIVED, "dailies.minHeartRateInBeatsPerMinute"),
    _daily("hr_max_bpm", "bpm", "Highest heart rate", _AS_RECEIVED, "dailies.maxHeartRateInBeatsPerMinute"),
    _daily("stress_mean", "1-100", "Mean stress", "averageStressLevel, negative is null; without it the mean of the stress samples >= 0", "dailies.averageStressLevel", _STRESS),
    _daily("stress_rest_min", "min", "Time at rest (stress 1-25)", _MIN, "dailies.restStressDurationInSeconds"),
    _daily("stress_low_min", "min", "Time in low stress (26-50)", _MIN, "dailies.lowStressDurationInSeconds"),
    _daily("stress_medium_min", "min", "Time in medium stress (51-75)", _MIN, "dailies.mediumStressDurationInSeconds"),
    _daily("stress_high_min", "min", "Time in high stress (76-100)", f"{_MIN}. More than a day is seen in real data and left as received", "dailies.highStressDurationInSeconds"),
    _daily("body_battery_max", "points", "Highest Body Battery", "Of the samples >= 0", _BATTERY),
    _daily("body_battery_min", "points", "Lowest Body Battery", "Of the samples >= 0", _BATTERY),
    _daily("body_battery_charged", "points", "Body Battery charged", _AS_RECEIVED, "dailies.bodyBatteryChargedValue"),
    _daily("body_battery_drained", "points", "Body Battery drained", _AS_RECEIVED, "dailies.bodyBatteryDrainedValue"),
    _daily("sleep_tst_min", "min", "Total sleep time", f"{_SLEEP}. Duration / 60", "sleeps.durationInSeconds"),
    _daily("sleep_tib_min", "min", "Time in bed", "(duration + awake + unmeasurable) / 60; a missing awake or unmeasurable counts 0", "sleeps.durationInSeconds", "sleeps.awakeDurationInSeconds", "sleeps.unmeasurableSleepInSeconds"),
    _daily("sleep_waso_min", "min", "Time awake after sleep onset", "Awake / 60", "sleeps.awakeDurationInSeconds"),
    _daily("sleep_efficiency_pct", "%", "Sleep efficiency", "100 sleep_tst_min / sleep_tib_min", "sleeps.durationInSeconds", "sleeps.awakeDurationInSeconds", "sleeps.unmeasurableSleepInSeconds", high=100.0),
    _daily("sleep_deep_pct", "%", "Share of deep sleep", "100 deep / duration", "sleeps.deepSleepDurationInSeconds", "sleeps.durationInSeconds"),
    _daily("sleep_light_pct", "%", "Share of light sleep", "100 light / duration", "sleeps.lightSleepDurationInSeconds", "sleeps.durationInSeconds"),
    _daily("sleep_rem_pct", "%", "Share of REM sleep", "100 REM / duration", "sleeps.remSleepInSeconds", "sleeps.durationInSeconds"),
    _daily("sleep_start_min", "min", "Start of the main sleep, local minutes from midnight of the date", _TIMED, *_TIMES[:2], low=None),
    _daily("sleep_end_min", "min", "End of the main sleep, local minutes from midnight of the date", f"Last end in sleepLevelsMap, else start + duration + awake + unmeasurable. {_TIMED}", *_TIMES, low=None),
    _daily("midsleep_min", "min", "Middle of the main sleep, local minutes from midnight of the date", f"Middle of start and end. {_TIMED}", *_TIMES, low=None),
    _daily("asleep_by_hour", "bits[24]", "Minutes asleep in the main sleep, by hour of the local clock", "Bit m of hour h: minute h:m lies in the main sleep and in no awake interval. Every night on one clock, also what was before midnight; null without a main sleep on the local clock", *_TIMES, type="list<int64>", low=None),
    _daily("hrv_rmssd_ms", "ms", "Overnight heart-rate variability (RMSSD)", "lastNightAvg of the latest record", "hrv.lastNightAvg"),
    _daily("spo2_mean_pct", "%", "Mean blood oxygen", "Of the main sleep's samples > 0, else of pulse-ox samples not taken on demand", "sleeps.timeOffsetSleepSpo2", "pulseox.timeOffsetSpo2Values"),
    _daily("spo2_lt90_pct", "%", "Share of blood-oxygen samples below 90 %", "Of the same samples as spo2_mean_pct", "sleeps.timeOffsetSleepSpo2", "pulseox.timeOffsetSpo2Values", high=100.0),
    _daily("resp_sleep_brpm", "1/min", "Breathing rate asleep", "Mean of the main sleep's samples > 0", "sleeps.timeOffsetSleepRespiration"),
    _daily("resp_day_brpm", "1/min", "Breathing rate over the day", "Mean of all-day samples > 0", "allDayRespiration.timeOffsetEpochToBreaths"),
    _daily("vo2max", "ml/kg/min", "Maximal oxygen uptake as estimated by the device", "Of the latest record", "userMetrics.vo2Max"),
    _daily("fitness_age", "y", "Fitness age as estimated by the device", "Of the latest record", "userMetrics.fitnessAge"),
    _daily("exercise_sessions", "n", "Recorded activities", "activities and manuallyUpdatedActivities without parents; 0 on a date with a dailies record and no activity", "activities.summaryId", "activities.isParent", type="int64", source="Garmin Activity API 1.2"),
    _daily("exercise_min", "min", "Duration of the recorded activities", "Sum of durations / 60; 0 on a date with a dailies record and no activity", "activities.durationInSeconds", source="Garmin Activity API 1.2"),
    _daily("steps_by_hour", "n[24]", "Steps by local hour", "Sum over the epochs that start in the hour; an hour without any is null; null without epochs", "epochs.steps", "epochs.startTimeInSeconds", type="list<float64>", low=None),
    _daily("n_records", "n", "Records used", "Records that no later one supersedes, of every type", "*", type="int64", source=LINEAGE, nullable=False),
    _daily("n_dailies", "n", "Records of type dailies", "That no later one supersedes", "dailies.*", type="int64", source=LINEAGE, nullable=False),
    _daily("n_sleeps", "n", "Records of type sleeps", "That no later one supersedes, off-wrist ones too", "sleeps.*", type="int64", source=LINEAGE, nullable=False),
    _daily("n_stress", "n", "Records of type stressDetails", "That no later one supersedes", "stressDetails.*", type="int64", source=LINEAGE, nullable=False),
    _daily("n_hrv", "n", "Records of type hrv", "That no later one supersedes", "hrv.*", type="int64", source=LINEAGE, nullable=False),
    _daily("last_received_at", "UTC", "Latest receipt of a record used", "", "*._received_at", type="timestamp", source=LINEAGE, low=None),
    _daily("sync_lag_h", "h", "From the end of the dailies record to its receipt", "Negative when the record was received before its end", "dailies._received_at", "dailies.startTimeInSeconds", "dailies.durationInSeconds", source=LINEAGE, low=None),
)  # fmt: skip

_V = "Over valid days with a value"
_ALL = "Over all days with a value"
_NIGHTS = "Over nights with a main sleep, on any day"
_COUNTED = "Denominator of"
_PAIRS = "Pairs of consecutive dates that both have a main sleep on the local clock"
_WEEK, _28D = "of the week", "of the 28 days that end with the week"


def _mean(name: str, unit: str, what: str, column: str, high: float | None = None) -> Metric:
    return _weekly(name, unit, f"Mean {what}", _V, column, high=high)


def _denominator(name: str, unit: str, of: str, *inputs: str, rule: str = "", high: int = 7) -> Metric:
    what = f"{_COUNTED} {of}"
    return _weekly(name, unit, what, rule, *inputs, type="int64", source=LINEAGE, nullable=False, high=high)


def _regularity(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """The sleep regularity index over so many days; `over` says which."""
    sri, pairs = f"sleep_regularity_index{suffix}", f"n_sleep_pairs{suffix}"
    rule = f"-100 + 200 x the share of minutes with the same state (asleep or not) 24 h later, {over}, at least 3 pairs"
    return (
        _weekly(sri, "1", "Sleep regularity index", rule, "asleep_by_hour", source=SRI, low=-100, high=100),
        _denominator(pairs, "n", sri, "asleep_by_hour", rule=f"{_PAIRS}, {over}", high=days - 1),
    )


def _rhythm(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """The nonparametric measures of the rest-activity rhythm over so many days; `over` says which."""
    hours = f"n_step_hours{suffix}"
    rule = f"Hourly steps {over}, hours with data only, at least 72"
    names = [f"{name}{suffix}" for name in ("interdaily_stability", "intradaily_variability", "relative_amplitude")]
    of = f"{names[0]}, {names[1]} and {names[2]}"
    return (
        _weekly(names[0], "1", "Interdaily stability of hourly steps", f"n sum_h (mean_h - mean)^2 / (24 sum_i (x_i - mean)^2). {rule}; all 24 hours seen", "steps_by_hour", source=RHYTHM),
        _weekly(names[1], "1", "Intradaily variability of hourly steps", f"n sum (x_i - x_i-1)^2 / (a sum (x_i - mean)^2) over the a pairs of adjacent hours. {rule}", "steps_by_hour", source=RHYTHM),
        _weekly(names[2], "1", "Relative amplitude of hourly steps", f"(M10 - L5) / (M10 + L5): the 10 consecutive hours with the most and the 5 with the least steps of the mean 24-h profile, around midnight too. {rule}; all 24 hours seen", "steps_by_hour", source=RHYTHM, high=1),
        _denominator(hours, "h", of, "steps_by_hour", rule=f"Hours with an epoch, {over}", high=24 * days),
    )  # fmt: skip


WEEKLY: tuple[Metric, ...] = (
    _weekly("participant_id", "", "Pseudonymous participant", _ID_RULE, "participant_id", type="string", source=LINEAGE, low=None, nullable=False),
    _weekly("date", "", "Monday of the ISO week", "Partition column, text YYYY-MM-DD", "date", type="string", source=LINEAGE, low=None, nullable=False),
    _weekly("n_days", "d", "Dates with any record", "", "date", type="int64", source=LINEAGE, low=1, high=7, nullable=False),
    _weekly("n_valid_days", "d", "Valid days", "is_valid_day", "is_valid_day", type="int64", source=WEAR, high=7, nullable=False),
    _weekly("n_valid_weekend_days", "d", "Valid Saturdays and Sundays", "is_valid_day", "is_valid_day", type="int64", source=WEAR, high=2, nullable=False),
    _weekly("is_valid_week", "", "Whether the week counts as worn", "n_valid_days >= 4 and n_valid_weekend_days >= 1", "is_valid_day", type="bool", source=WEAR, low=None, nullable=False),
    _weekly("yield_hours", "1", "Share of the week's hours with data", "Sum of valid_minutes_hours / 168, over all days", "valid_minutes_hours", source=RAPIDS),
    *(
        _weekly(f"completeness_{name}", "1", f"Share of the week's dates with any record of type {type_}", "Dates / 7", column, source=RAPIDS, high=1, nullable=False)
        for name, type_, column in (("dailies", "dailies", "n_dailies"), ("sleeps", "sleeps", "n_sleeps"), ("stress", "stressDetails", "n_stress"), ("hrv", "hrv", "n_hrv"))
    ),
    _weekly("wear_min_mean", "min", "Mean wear time", _ALL, "wear_min", source=WEAR),
    _denominator("n_wear_days", "d", "wear_min_mean", "wear_min"),
    _weekly("sync_lag_h_median", "h", "Median delay of synchronisation", _ALL, "sync_lag_h", source=LINEAGE, low=None),
    _mean("steps_mean", "n/d", "steps a day", "steps"),
    _weekly("steps_median", "n/d", "Median steps a day", _V, "steps"),
    _weekly("steps_sd", "n/d", "Sample SD of steps a day", f"{_V}, at least 2", "steps"),
    _weekly("steps_sum", "n", "Steps", f"Sum. {_V}", "steps"),
    _weekly("steps_per_wear_h", "n/h", "Steps per hour of wear", "Sum of steps / sum of wear hours, over valid days that have both", "steps", "wear_min"),
    _denominator("n_steps_days", "d", "steps_mean, _median, _sd and _sum", "steps", "is_valid_day"),
    _mean("distance_m_mean", "m/d", "distance", "distance_m"),
    _mean("floors_mean", "n/d", "floors climbed", "floors"),
    _mean("active_kcal_mean", "kcal/d", "active energy", "active_kcal"),
    _mean("active_min_mean", "min/d", "active time", "active_min"),
    _weekly("moderate_min_sum", "min", "Moderate intensity", f"Sum. {_ALL}", "moderate_min"),
    _weekly("vigorous_min_sum", "min", "Vigorous intensity", f"Sum. {_ALL}", "vigorous_min"),
    _weekly("mvpa_equiv_min", "min", "Moderate-equivalent minutes", "moderate_min_sum + 2 vigorous_min_sum; null if both are null, else a missing one counts 0", "moderate_min", "vigorous_min", source=WHO),
    _weekly("who_activity", "", "Activity against the WHO recommendation", "below < 150 <= meets <= 300 < exceeds; under 150 with fewer than 7 valid days: unknown. Garmin may count only bouts of 10 min, WHO 2020 counts any", "moderate_min", "vigorous_min", "is_valid_day", type="string", source=WHO, low=None),
    _mean("resting_hr_mean", "bpm", "resting heart rate", "resting_hr_bpm"),
    _weekly("resting_hr_slope", "bpm/d", "Trend of the resting heart rate", "Least squares on day 0..6 of the week, over valid days with a value, at least 3", "resting_hr_bpm", low=None),
    _denominator("n_resting_hr_days", "d", "resting_hr_mean and _slope", "resting_hr_bpm", "is_valid_day"),
    _mean("hr_mean", "bpm", "of the daily mean heart rate", "hr_mean_bpm"),
    _denominator("n_hr_days", "d", "hr_mean", "hr_mean_bpm", "is_valid_day"),
    _weekly("hrv_rmssd_mean", "ms", "Mean overnight RMSSD", "Over nights with a value, on any day", "hrv_rmssd_ms"),
    _weekly("hrv_ln_rmssd_mean", "ln ms", "Mean of ln RMSSD", "Over nights with a value, on any day", "hrv_rmssd_ms", low=None),
    _weekly("hrv_cv_pct", "%", "Coefficient of variation of RMSSD", "100 sample SD / mean, at least 2 nights", "hrv_rmssd_ms"),
    _denominator("n_hrv_nights", "n", "hrv_rmssd_mean, hrv_ln_rmssd_mean and hrv_cv_pct", "hrv_rmssd_ms"),
    _mean("stress_mean", "1-100", "stress", "stress_mean"),
    _weekly("stress_high_pct", "%", "Share of high stress", "Of rest + low + medium + high minutes, summed over valid days", "stress_high_min", "stress_medium_min", "stress_low_min", "stress_rest_min", high=100),
    _weekly("stress_rest_pct", "%", "Share of rest", "Of rest + low + medium + high minutes, summed over valid days", "stress_rest_min", "stress_high_min", "stress_medium_min", "stress_low_min", high=100),
    _denominator("n_stress_days", "d", "stress_mean", "stress_mean", "is_valid_day"),
    _mean("body_battery_max_mean", "points", "of the daily highest Body Battery", "body_battery_max"),
    _mean("body_battery_min_mean", "points", "of the daily lowest Body Battery", "body_battery_min"),
    _mean("body_battery_charged_mean", "points", "Body Battery charged", "body_battery_charged"),
    _mean("body_battery_drained_mean", "points", "Body Battery drained", "body_battery_drained"),
    _weekly("sleep_tst_h_mean", "h", "Mean total sleep time", _NIGHTS, "sleep_tst_min"),
    _weekly("sleep_tst_h_sd", "h", "Sample SD of total sleep time", f"{_NIGHTS}, at least 2", "sleep_tst_min"),
    _weekly("sleep_tib_h_mean", "h", "Mean time in bed", _NIGHTS, "sleep_tib_min"),
    _weekly("sleep_efficiency_mean", "%", "Mean sleep efficiency", _NIGHTS, "sleep_efficiency_pct", high=100.0000001),
    _weekly("sleep_waso_min_mean", "min", "Mean time awake after sleep onset", _NIGHTS, "sleep_waso_min"),
    _weekly("sleep_deep_pct_mean", "%", "Mean share of deep sleep", _NIGHTS, "sleep_deep_pct"),
    _weekly("sleep_light_pct_mean", "%", "Mean share of light sleep", _NIGHTS, "sleep_light_pct"),
    _weekly("sleep_rem_pct_mean", "%", "Mean share of REM sleep", _NIGHTS, "sleep_rem_pct"),
    _denominator("n_nights", "n", "the sleep means", "sleep_tst_min"),
    _weekly("midsleep_mean_min", "min", "Circular mean of midsleep, local minutes from midnight", "In (-720, 720], over nights", "midsleep_min", source=CIRCULAR, low=-720, high=720),
    _weekly("midsleep_sd_min", "min", "Circular SD of midsleep", "sqrt(-2 ln R) as minutes (1440 min = 2 pi), at least 2 nights", "midsleep_min", source=CIRCULAR),
    _denominator("n_midsleep_nights", "n", "midsleep_mean_min and _sd_min", "midsleep_min"),
    _weekly("social_jetlag_min", "min", "Midsleep of free days minus working days", "Circular difference midsleep(Sat, Sun) - midsleep(Mon-Fri) in (-720, 720]; null if either is missing", "midsleep_min", source="Wittmann 2006; " + CIRCULAR, low=-720, high=720),
    _weekly("nights_ge7h_pct", "%", "Share of nights of 7 h and more", "100 x nights with sleep_tst_min >= 420 / nights", "sleep_tst_min", high=100),
    *_regularity("", 7, _WEEK),
    *_regularity("_28d", 28, _28D),
    _mean("spo2_mean", "%", "blood oxygen", "spo2_mean_pct"),
    _mean("spo2_lt90_pct_mean", "%", "share of blood-oxygen samples below 90 %", "spo2_lt90_pct", high=100.0000001),
    _denominator("n_spo2_days", "d", "spo2_mean and spo2_lt90_pct_mean", "spo2_mean_pct", "is_valid_day"),
    _mean("resp_sleep_mean", "1/min", "breathing rate asleep", "resp_sleep_brpm"),
    _denominator("n_resp_sleep_days", "d", "resp_sleep_mean", "resp_sleep_brpm", "is_valid_day"),
    _mean("resp_day_mean", "1/min", "breathing rate over the day", "resp_day_brpm"),
    _denominator("n_resp_day_days", "d", "resp_day_mean", "resp_day_brpm", "is_valid_day"),
    _weekly("vo2max_last", "ml/kg/min", "Maximal oxygen uptake", "Last value of the week, on any day", "vo2max"),
    _weekly("fitness_age_last", "y", "Fitness age", "Last value of the week, on any day", "fitness_age"),
    *_rhythm("", 7, _WEEK),
    *_rhythm("_28d", 28, _28D),
    _weekly("exercise_sessions_sum", "n", "Recorded activities", f"Sum. {_ALL}", "exercise_sessions", type="int64"),
    _weekly("exercise_min_sum", "min", "Duration of the recorded activities", f"Sum. {_ALL}", "exercise_min"),
    _weekly("n_records", "n", "Records used", "Sum over all days", "n_records", type="int64", source=LINEAGE, low=1, nullable=False),
    _weekly("last_received_at", "UTC", "Latest receipt of a record used", "", "last_received_at", type="timestamp", source=LINEAGE, low=None),
    _weekly("computed_at", "UTC", "When the row was computed", "", type="timestamp", source=LINEAGE, low=None, nullable=False),
    _weekly("metrics_version", "", "Version of these definitions", "", type="string", source=LINEAGE, low=None, nullable=False),
)  # fmt: skip
