"""What is read from Garmin's summaries: every field once, with its kind and the values that mean "no data".

Belongs here: facts about the input. The engines build their readers from `FIELDS`, so the typed `records` table
that `daily.py` works on looks the same whichever engine read it. No metric is computed here.

Sources: Garmin Health API 1.2 and Activity API 1.2, as described in the project's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "text", "flag", "samples", "intervals", "spans", "time"]
"""How a JSON value is read; whatever cannot be read so is null and never an error.

number     float64: a JSON number, or text that is one; booleans, NaN, infinities and |x| > 1e15 are null
text       string: a JSON string, or any other scalar's JSON text
flag       bool: JSON true, 1, or one of them as text, "true" in any case; everything else is false
samples    list of (t, v): the offsets (s from the record's start) and values of {"offset": value}; each is null
           where it is no number
intervals  list of the end times (UTC seconds) in {level: [{startTimeInSeconds, endTimeInSeconds}]}
spans      list of (s, e), start and end (UTC seconds) of each [{startTimeInSeconds, endTimeInSeconds}] that has both
time       int64: ISO 8601 text as milliseconds since 1970 UTC
"""


@dataclass(frozen=True)
class Field:
    """One field of the typed records table.

    `garmin` are the names it goes by, the documented one first: the first that holds a readable value counts.
    `minimum` is the smallest number that is data; below it (Garmin's sentinels, nonsense) the value is null.
    With `exclusive`, the minimum itself is no data either.
    """

    name: str
    kind: Kind
    garmin: tuple[str, ...]
    minimum: float | None = None
    exclusive: bool = False


def _number(name: str, *garmin: str, minimum: float | None = 0.0, exclusive: bool = False) -> Field:
    return Field(name, "number", garmin, minimum, exclusive)


def _positive(name: str, *garmin: str) -> Field:
    return _number(name, *garmin, exclusive=True)


FIELDS: tuple[Field, ...] = (
    # Who, what, when: our own keys first, then Garmin's.
    Field("user_id", "text", ("userId",)),
    Field("summary_type", "text", ("_summary_type",)),
    Field("received_ms", "time", ("_received_at",)),
    Field("ingest_id", "text", ("_ingest_id",)),
    Field("summary_id", "text", ("summaryId",)),
    Field("calendar_date", "text", ("calendarDate",)),
    Field("activity_type", "text", ("activityType",)),
    _number("start_s", "startTimeInSeconds", minimum=None),
    _number("measured_s", "measurementTimeInSeconds", minimum=None),
    _number("change_s", "changeTimeInSeconds", minimum=None),
    _number("nested_start_s", "summary.startTimeInSeconds", minimum=None),
    _number(
        "offset_s",
        "startTimeOffsetInSeconds",
        "measurementTimeOffsetInSeconds",
        "offsetStartTimeInSeconds",
        "offsetInSeconds",
        "summary.startTimeOffsetInSeconds",
        minimum=None,
    ),
    _number("duration_s", "durationInSeconds"),
    # dailies (steps also in epochs)
    _number("steps", "steps"),
    _number("distance_m", "distanceInMeters"),
    _number("floors", "floorsClimbed"),
    _number("active_kcal", "activeKilocalories"),
    _number("active_s", "activeTimeInSeconds"),
    _number("moderate_s", "moderateIntensityDurationInSeconds"),
    _number("vigorous_s", "vigorousIntensityDurationInSeconds"),
    _positive("resting_hr", "restingHeartRateInBeatsPerMinute"),
    _positive("min_hr", "minHeartRateInBeatsPerMinute"),
    _positive("max_hr", "maxHeartRateInBeatsPerMinute"),
    Field("heart_rate", "samples", ("timeOffsetHeartRateSamples",)),
    _number("average_stress", "averageStressLevel", "averageStresslevel"),
    _number("rest_stress_s", "restStressDurationInSeconds"),
    _number("low_stress_s", "lowStressDurationInSeconds"),
    _number("medium_stress_s", "mediumStressDurationInSeconds"),
    _number("high_stress_s", "highStressDurationInSeconds"),
    _number("body_battery_charged", "bodyBatteryChargedValue"),
    _number("body_battery_drained", "bodyBatteryDrainedValue"),
    # sleeps
    Field("validation", "text", ("validation",)),
    _number("awake_s", "awakeDurationInSeconds"),
    _number("unmeasurable_s", "unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds"),
    _number("deep_s", "deepSleepDurationInSeconds"),
    _number("light_s", "lightSleepDurationInSeconds"),
    _number("rem_s", "remSleepInSeconds"),
    Field("sleep_levels", "intervals", ("sleepLevelsMap",)),
    Field("awake_spans", "spans", ("sleepLevelsMap.awake",)),
    Field("deep_spans", "spans", ("sleepLevelsMap.deep",)),
    Field("light_spans", "spans", ("sleepLevelsMap.light",)),
    Field("rem_spans", "spans", ("sleepLevelsMap.rem",)),
    Field("sleep_spo2", "samples", ("timeOffsetSleepSpo2",)),
    Field("sleep_respiration", "samples", ("timeOffsetSleepRespiration",)),
    # stressDetails
    Field("stress", "samples", ("timeOffsetStressLevelValues",)),
    Field("body_battery", "samples", ("timeOffsetBodyBatteryValues",)),
    # hrv, userMetrics, pulseox, allDayRespiration
    _positive("last_night_avg", "lastNightAvg"),
    _positive("vo2_max", "vo2Max"),
    _positive("fitness_age", "fitnessAge"),
    Field("on_demand", "flag", ("onDemand",)),
    Field("spo2", "samples", ("timeOffsetSpo2Values",)),
    Field("respiration", "samples", ("timeOffsetEpochToBreaths",)),
    # activities
    Field("is_parent", "flag", ("isParent",)),
)

TYPE_ALIASES: dict[str, str] = {
    "pulseOx": "pulseox",
    "respiration": "allDayRespiration",
    "moveiq": "moveIQActivities",
    "menstrualCycleTracking": "mct",
    # One key space: a manual edit of an activity supersedes it.
    "manuallyUpdatedActivities": "activities",
}
"""Names under which a summary type also arrives: Garmin's URL paths, older names, the manual edits of activities."""

KEY_FIELDS: dict[str, tuple[str, ...]] = {
    "epochs": ("activity_type", "body"),
    "pulseox": ("on_demand",),
}
"""What distinguishes records of one type beside their start time; `body` is the request they came with."""

LONGEST_FIRST_TYPES: tuple[str, ...] = (
    "dailies",
    "epochs",
    "stressDetails",
    "pulseox",
    "allDayRespiration",
    "hrv",
)
"""Types that grow while they are measured: of two versions a shorter one is an older state, sent again."""

OTHER_FINALITY = 2
FINALITY: dict[str, int] = {
    "AUTO_MANUAL": 4,
    "ENHANCED_FINAL": 3,
    "AUTO_FINAL": OTHER_FINALITY,
    "DEVICE": OTHER_FINALITY,
    "ENHANCED_TENTATIVE": 1,
    "AUTO_TENTATIVE": 0,
}
"""How final a sleep is by its `validation`, in any case: the greater, the more. Other words are like AUTO_FINAL."""

NO_SLEEP: tuple[str, ...] = ("OFF_WRIST", "MANUAL")
"""Values of a sleep's `validation` with which nothing was measured."""

DATE_KEYED_TYPES: tuple[str, ...] = ("userMetrics",)
"""Types of which a user has one a calendar date."""

ID_KEYED_TYPES: tuple[str, ...] = ("activities",)
"""Types whose summaryId is their identity."""

KNOWN_TYPES: tuple[str, ...] = (
    "dailies",
    "epochs",
    "sleeps",
    "bodyComps",
    "stressDetails",
    "userMetrics",
    "pulseox",
    "allDayRespiration",
    "healthSnapshot",
    "hrv",
    "bloodPressures",
    "skinTemp",
    "mct",
    "activities",
    "activityDetails",
    "activityFiles",
    "moveIQActivities",
    "thirdPartyDailies",
)
"""Garmin's summary types after `TYPE_ALIASES`; others are kept raw and counted, and feed no metric."""

NESTED: tuple[Kind, ...] = ("samples", "intervals", "spans")
"""The kinds of which a field holds many values."""

SCALARS: tuple[Field, ...] = tuple(field for field in FIELDS if field.kind not in NESTED)
"""The fields that hold one value."""

TEST_TYPE = "qolTest"
"""The summary type of `qol doctor --webhook`'s test push: such a line is nobody's data and is counted nowhere."""

_IBIS_TYPES: dict[Kind, str] = {
    "number": "float64",
    "text": "string",
    "flag": "boolean",
    "samples": "array<struct<t: float64, v: float64>>",
    "intervals": "array<float64>",
    "spans": "array<struct<s: float64, e: float64>>",
    "time": "int64",
}


_SIDE_BY_SIDE = "struct<t: array<float64>, v: array<float64>>"


def records_schema(*, side_by_side: bool) -> dict[str, str]:
    """Ibis types of the typed records table: the fields, and where each record comes from.

    `rec` is a record's number, unique in the table. `date` is that of the raw folder, `file` the raw file's name
    without its ending, `line` rises with the file's lines, and `body` is what the records of one request share.
    With `side_by_side`, samples are two lists of one length and not a list of pairs: for an engine that unnests two.
    """
    types = {**_IBIS_TYPES, "samples": _SIDE_BY_SIDE} if side_by_side else _IBIS_TYPES
    origin = {"rec": "int64", "date": "string", "file": "string", "line": "int64", "body": "string"}
    return {**origin, **{field.name: types[field.kind] for field in FIELDS}}
