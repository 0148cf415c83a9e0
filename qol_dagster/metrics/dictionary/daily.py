"""The columns of `daily_metrics`: a row for each participant and date.

Belongs here: facts about its columns. Their expressions are `metrics/daily.py`'s.
"""

from __future__ import annotations

from functools import partial

from qol_dagster.metrics.dictionary.metric import (
    ACTIVITIES,
    DAY_MINUTES,
    HRV,
    ID_RULE,
    LINEAGE,
    NIGHT,
    RAPIDS,
    SENSOR,
    SENSOR_OF_NIGHTS,
    SLEEP,
    WEAR,
    WORN,
    Metric,
    entry,
)
from qol_dagster.metrics.dictionary.values import WEAR_SOURCES, YES_NO

_daily = partial(entry, "daily")

_DAILIES = "Of the day's dailies record"
_DAILIES_FROM_0 = f"{_DAILIES}; a negative number is null"
_STRESS_TIME = f"{_DAILIES_FROM_0}, and so is one longer than the record"
_DAILIES_ABOVE_0 = f"{_DAILIES}; null when not above 0"
_BEATS = "dailies.timeOffsetHeartRateSamples"
_CLOCK = "dailies.startTimeInSeconds dailies.startTimeOffsetInSeconds"
_STRESS = "stressDetails.timeOffsetStressLevelValues"
_BATTERY = "stressDetails.timeOffsetBodyBatteryValues"
_SLEEP = (
    "Main sleep of the date: of sleeps that overlap the most final, then the latest received, then the longest; of "
    "these the longest. OFF_WRIST and MANUAL are none. Null without one"
)
_STAGES = "sleeps.deepSleepDurationInSeconds sleeps.lightSleepDurationInSeconds sleeps.remSleepInSeconds"
_IDLE = "sleeps.awakeDurationInSeconds sleeps.sleepLevelsMap sleeps.unmeasurableSleepInSeconds"
_ASLEEP = f"sleeps.durationInSeconds sleeps.validation {_STAGES} {_IDLE}"
_TST = (
    "deep + light + REM, where within 120 s of the duration or of it without awake, unmeasurable or both; "
    "else the duration; else the sum"
)
_TIMED = "Main sleep of the date. Minutes before midnight are negative. Null without start or offset"
_SLEEP_START = "sleeps.startTimeInSeconds sleeps.startTimeOffsetInSeconds"
_SLEEP_TIMES = f"{_SLEEP_START} {_ASLEEP}"
_OXYGEN = "sleeps.timeOffsetSleepSpo2 pulseox.timeOffsetSpo2Values pulseox.onDemand"
_NEWEST = "Of the record received last; null when not above 0"
_LATEST = "The latest value of the date, of whichever record; one not above 0 is none"
_SESSIONS = (
    "activities and manuallyUpdatedActivities by their local start date, parents left out. "
    "0 on a date with a dailies record and no activity"
)
_CURRENT = "Records of which no other version counts, of the account that was worn most"


def _received(
    name: str, unit: str, description: str, field: str, plausible: tuple[float, float], *, rule: str = _DAILIES_FROM_0
) -> Metric:
    """Return a number that the dailies record holds under this name; durations are turned into minutes."""
    formula = f"{field} / 60" if field.endswith("InSeconds") else field
    return _daily(
        name, unit, description, formula=formula, rule=rule, inputs=f"dailies.{field}", plausible=plausible,
        blanks=SENSOR,
    )  # fmt: skip


def _stress_time(level: str, what: str) -> Metric:
    """Return how long a level of stress lasted."""
    return _received(
        f"stress_{level}_min", "min", f"Time {what}", f"{level}StressDurationInSeconds", DAY_MINUTES, rule=_STRESS_TIME
    )


def _of_type(name: str, type_: str, rule: str = _CURRENT) -> Metric:
    return _daily(
        name, "n", f"Records of type {type_}", formula=f"n({type_})", rule=rule, inputs=f"{type_}.*",
        type="int64", sources=LINEAGE, nullable=False,
    )  # fmt: skip


DAILY: tuple[Metric, ...] = (
    _daily(
        "participant_id", "", "Pseudonymous participant",
        rule=ID_RULE, inputs="user_id_map.participant_id", type="string", sources=LINEAGE, nullable=False,
    ),
    _daily(
        "date", "", "Local calendar date",
        formula="calendarDate, else the local date of the start (sleeps, hrv: end), else that of receipt in Japan",
        rule="Text YYYY-MM-DD", inputs="*.calendarDate *.startTimeInSeconds *.startTimeOffsetInSeconds *._received_at",
        type="string", nullable=False,
    ),
    # Wear
    _daily(
        "wear_min", "min", "Time the device was worn",
        formula="n(minutes with a heart rate), else 3 x n(stress samples other than -1)",
        rule="A sample stands for the time before its offset. Null without samples of either. "
        "10 h of wear are not 10 h of waking wear",
        inputs=f"{_BEATS} {_STRESS}", sources=WEAR, plausible=DAY_MINUTES,
        blanks=WORN,
    ),
    _daily(
        "wear_source", "", "What wear_min was computed from",
        formula="heart_rate, else stress", rule="Null when wear_min is null", inputs=f"{_BEATS} {_STRESS}",
        type="string", sources=WEAR,
        values=WEAR_SOURCES, blanks=WORN,
    ),
    _daily(
        "valid_minutes_hours", "h", "Hours of the day with data",
        formula="n(hours of the local clock with >= minutes_per_valid_hour minutes that have a heart rate)",
        rule="At most 24. Null without heart-rate samples", inputs=f"{_BEATS} {_CLOCK}",
        type="int64", sources=RAPIDS, plausible=(0, 24),
        blanks=SENSOR,
    ),
    _daily(
        "is_valid_day", "", "Whether the day counts as worn",
        formula="wear_min >= valid_day_wear_min", rule="Null when wear_min is null", inputs=f"{_BEATS} {_STRESS}",
        type="bool", sources=WEAR,
        values=YES_NO, blanks=WORN,
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
        rule=f"{_DAILIES}. Never averageHeartRateInBeatsPerMinute, which is a 7-day average. "
        "Samples weigh the same, so that whoever takes the watch off at night has a higher mean",
        inputs=_BEATS, plausible=(35, 150),
        blanks=SENSOR,
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
        blanks=SENSOR,
    ),
    _stress_time("rest", "at rest (stress 1-25)"),
    _stress_time("low", "in low stress (26-50)"),
    _stress_time("medium", "in medium stress (51-75)"),
    _stress_time("high", "in high stress (76-100)"),
    _daily(
        "body_battery_max", "points", "Highest Body Battery",
        formula="max(samples >= 0)", rule="Samples of all stressDetails records of the date", inputs=_BATTERY,
        plausible=(0, 100),
        blanks=SENSOR,
    ),
    _daily(
        "body_battery_min", "points", "Lowest Body Battery",
        formula="min(samples >= 0)", rule="Samples of all stressDetails records of the date", inputs=_BATTERY,
        plausible=(0, 100),
        blanks=SENSOR,
    ),
    _received("body_battery_charged", "points", "Body Battery charged", "bodyBatteryChargedValue", (0, 100)),
    _received("body_battery_drained", "points", "Body Battery drained", "bodyBatteryDrainedValue", (0, 100)),
    # Sleep
    _daily(
        "sleep_tst_min", "min", "Total sleep time",
        formula=f"({_TST}) / 60", rule=_SLEEP, inputs=_ASLEEP, plausible=(120, 840),
        blanks=NIGHT,
    ),
    _daily(
        "sleep_tib_min", "min", "Time in bed",
        formula="sleep_tst_min + (awake + unmeasurable) / 60",
        rule=f"Garmin's sleep period. A missing awake or unmeasurable counts 0. {_SLEEP}",
        inputs=_ASLEEP, sources=SLEEP, plausible=(120, 960),
        blanks=NIGHT,
    ),
    _daily(
        "sleep_waso_min", "min", "Time awake after sleep onset",
        formula="awakeDurationInSeconds / 60, else the awake intervals of sleepLevelsMap",
        rule=f"Null when nobody says. {_SLEEP}", inputs=_ASLEEP,
        sources=SLEEP, plausible=(0, 240),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "sleep_efficiency_pct", "%", "Sleep efficiency",
        formula="100 sleep_tst_min / sleep_tib_min", rule=f"Null when sleep_waso_min is null. {_SLEEP}", inputs=_ASLEEP,
        sources=SLEEP, high=100.0, plausible=(50, 100),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "sleep_deep_pct", "%", "Share of deep sleep",
        formula="100 deep / tst", rule=_SLEEP, inputs=_ASLEEP, high=100.0,
        plausible=(0, 60),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "sleep_light_pct", "%", "Share of light sleep",
        formula="100 light / tst", rule=_SLEEP, inputs=_ASLEEP, high=100.0,
        plausible=(0, 100),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "sleep_rem_pct", "%", "Share of REM sleep",
        formula="100 rem / tst", rule=_SLEEP, inputs=_ASLEEP, high=100.0, plausible=(0, 60),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "sleep_start_min", "min", "Start of the main sleep, local minutes from midnight of the date",
        formula="(start + offset - midnight) / 60", rule=_TIMED, inputs=f"{_SLEEP_START} {_ASLEEP}", low=None,
        blanks=NIGHT,
    ),
    _daily(
        "sleep_end_min", "min", "End of the main sleep, local minutes from midnight of the date",
        formula="last end in sleepLevelsMap, if within 12 h of start + tst + awake + unmeasurable; else that",
        rule=_TIMED,
        inputs=_SLEEP_TIMES, low=None,
        blanks=NIGHT,
    ),
    _daily(
        "midsleep_min", "min", "Middle of the main sleep, local minutes from midnight of the date",
        formula="(sleep_start_min + sleep_end_min) / 2", rule=_TIMED, inputs=_SLEEP_TIMES, low=None,
        blanks=NIGHT,
    ),
    _daily(
        "asleep_by_hour", "bits[24]", "Minutes asleep in the main sleep, by hour of the local clock",
        formula="bit m of hour h: minute h:m is in a deep, light or REM interval of the main sleep; "
        "where it has none, in no awake one",
        rule="Every night on one clock, also what was before midnight. Null without a main sleep on the local clock",
        inputs=_SLEEP_TIMES, type="list<int64>",
        blanks=NIGHT,
    ),
    # Overnight and other measurements
    _daily(
        "hrv_rmssd_ms", "ms", "Overnight heart-rate variability (RMSSD)",
        formula="lastNightAvg", rule=_NEWEST, inputs="hrv.lastNightAvg", sources=HRV, plausible=(5, 200),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "spo2_mean_pct", "%", "Mean blood oxygen",
        formula="mean(samples > 0)", rule="Samples of the main sleep, else of the pulse-ox records not taken on demand",
        inputs=_OXYGEN, plausible=(80, 100),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "spo2_lt90_pct", "%", "Share of blood-oxygen samples below 90 %",
        formula="100 n(samples < 90) / n(samples > 0)", rule="Of the same samples as spo2_mean_pct", inputs=_OXYGEN,
        high=100.0,
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "resp_sleep_brpm", "1/min", "Breathing rate asleep",
        formula="mean(samples > 0)", rule="Samples of the main sleep", inputs="sleeps.timeOffsetSleepRespiration",
        plausible=(6, 30),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _daily(
        "resp_day_brpm", "1/min", "Breathing rate over the day",
        formula="mean(samples > 0)", rule="Samples of all allDayRespiration records of the date",
        inputs="allDayRespiration.timeOffsetEpochToBreaths", plausible=(6, 40),
        blanks=SENSOR,
    ),
    _daily(
        "vo2max", "ml/kg/min", "Maximal oxygen uptake as estimated by the device",
        formula="vo2Max", rule=_LATEST, inputs="userMetrics.vo2Max", plausible=(10, 90),
        blanks=WORN,
    ),
    _daily(
        "fitness_age", "y", "Fitness age as estimated by the device",
        formula="fitnessAge", rule=_LATEST, inputs="userMetrics.fitnessAge", plausible=(15, 100),
        blanks=WORN,
    ),
    _daily(
        "exercise_sessions", "n", "Recorded activities",
        formula="n(activities)", rule=_SESSIONS, inputs="activities.summaryId activities.isParent",
        type="int64", sources=ACTIVITIES, plausible=(0, 20),
        blanks=WORN,
    ),
    _daily(
        "exercise_min", "min", "Duration of the recorded activities",
        formula="sum(durationInSeconds) / 60", rule=_SESSIONS,
        inputs="activities.durationInSeconds activities.isParent", sources=ACTIVITIES, plausible=(0, 960),
        blanks=WORN,
    ),
    _daily(
        "steps_by_hour", "n[24]", "Steps by local hour",
        formula="hour h: sum of the steps of the epochs that start in it",
        rule="An hour without any epoch is null; an epoch without an offset has no hour. Null without epochs",
        inputs="epochs.steps epochs.startTimeInSeconds epochs.startTimeOffsetInSeconds", type="list<float64>",
        blanks=SENSOR,
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
        blanks=WORN,
    ),
)  # fmt: skip
