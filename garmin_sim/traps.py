"""Oddities seen in real data, planted on purpose: at least one for each rule of which record counts.

Belongs here: each trap by name, as a change to the summaries of one participant-day. All other summaries are
as Garmin documents them. On each participant a trap falls on one day of every seven; the two participants of
a pair share the day, because one trap takes two of them. Participant 0 wears the device day and night, so no
trap goes missing. The traps of `LATER` change what a later body brings of the day, for which every day is sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any

from garmin_sim.records import Record, Stamp

Fields = dict[str, Any]
Trap = Callable[[list[Record], Stamp, int], None]

RECEIPT = "receipt"
"""Stands in `Record.filed` for the date of receipt in Japan."""


def plant(
    records: list[Record], names: Collection[str], mark: Stamp, participant: int, index: int, *, later: bool = False
) -> None:
    """Change the summaries of day `index` of a participant by the traps of that day, in place.

    `later` is for what is sent again of a day that was sent whole.
    """
    pair = participant // 2
    for number, (name, trap) in enumerate(_TRAPS.items()):
        if name in names and (index + number + 3 * pair) % 7 == 0:
            trap(records, mark, pair)
    for number, (name, trap) in enumerate(_LATER_TRAPS.items()):
        if later and name in names and (index + number + 3 * pair) % 7 == 3:
            trap(records, mark, pair)


def _edit(records: list[Record], kind: str, change: Callable[[Fields], object]) -> None:
    """Change the first record of a type, where there is one."""
    for i, record in enumerate(records):
        if record.type == kind:
            fields = json.loads(record.text)
            change(fields)
            records[i] = record._replace(text=_text(fields))
            return


def _text(fields: Fields) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _average_stresslevel(records: list[Record], _mark: Stamp, _pair: int) -> None:
    _edit(records, "dailies", lambda daily: daily.update(averageStresslevel=daily.pop("averageStressLevel", -1)))


def _missing_calendar_date(records: list[Record], _mark: Stamp, _pair: int) -> None:
    _edit(records, "dailies", lambda daily: daily.pop("calendarDate", None))


def _shared_summary_id(records: list[Record], mark: Stamp, pair: int) -> None:
    _edit(
        records,
        "dailies",
        lambda daily: daily.update(summaryId=f"x{pair:07x}-{mark.day.toordinal():x}-15180"),
    )


def _device_validation(records: list[Record], _mark: Stamp, _pair: int) -> None:
    _edit(records, "sleeps", lambda sleep: sleep.update(validation="Device"))


def _high_stress_overflow(records: list[Record], _mark: Stamp, _pair: int) -> None:
    _edit(records, "dailies", lambda daily: daily.update(highStressDurationInSeconds=108_000))


def _off_grid_offsets(records: list[Record], _mark: Stamp, _pair: int) -> None:
    def shift(daily: Fields) -> None:
        samples = daily.get("timeOffsetHeartRateSamples", {})
        shifted = {str(int(at) + 7): bpm for at, bpm in list(samples.items())[:240]}
        daily["timeOffsetHeartRateSamples"] = shifted | dict(list(samples.items())[240:])

    _edit(records, "dailies", shift)


def _negative_start(records: list[Record], mark: Stamp, _pair: int) -> None:
    start = -86_400 * (mark.day.toordinal() % 1000 + 1)
    fields = json.loads(mark.open_dated(start, 0, "-spo2OnDemand") + "}")
    records.append(Record("pulseox", _text(fields | {"timeOffsetSpo2Values": {"0": 96}, "onDemand": True})))


def _text_activity_id(records: list[Record], mark: Stamp, _pair: int) -> None:
    if any(record.type == "activities" for record in records):
        _edit(records, "activities", lambda activity: activity.update(activityId=str(activity["activityId"])))
        return
    number = str(mark.at(1010))
    fields = json.loads(mark.open(mark.at(1010), 1500) + "}")
    extra = {"summaryId": number, "activityId": number, "activityName": "Stretching", "activityType": "OTHER"}
    records.append(Record("activities", _text(fields | extra | {"activeKilocalories": 60, "manual": True})))


def _numbers_as_text(records: list[Record], _mark: Stamp, _pair: int) -> None:
    names = ("steps", "distanceInMeters", "durationInSeconds", "restingHeartRateInBeatsPerMinute")

    def quote(daily: Fields) -> None:
        daily.update({name: str(daily[name]) for name in names if name in daily})

    _edit(records, "dailies", quote)


def _nulls(records: list[Record], _mark: Stamp, _pair: int) -> None:
    nothing = dict.fromkeys(("floorsClimbed", "activeKilocalories", "stepsGoal"))
    _edit(records, "dailies", lambda daily: daily.update(nothing))
    _edit(records, "sleeps", lambda sleep: sleep.update(overallSleepScore=None, naps=None))


def _nested(records: list[Record], _mark: Stamp, _pair: int) -> None:
    def nest(daily: Fields) -> None:
        daily["floorsClimbed"] = {"value": daily["floorsClimbed"]}
        daily["distanceInMeters"] = [daily["distanceInMeters"]]

    _edit(records, "dailies", nest)


def _unknown_type(records: list[Record], mark: Stamp, _pair: int) -> None:
    records.append(Record("solarIntensity", mark.open_dated(mark.midnight_s, 86_400) + ',"maxPercent":41}'))


def _no_date(records: list[Record], mark: Stamp, _pair: int) -> None:
    fields = {"userId": mark.user_id, "summaryId": f"{mark.short_id}-undated-{mark.day}", "vo2Max": 41.0}
    records.append(Record("userMetrics", _text(fields), RECEIPT))


def _ancient(records: list[Record], mark: Stamp, _pair: int) -> None:
    records.append(_daily_of(mark, mark.day - timedelta(days=3 * 365)))


def _future(records: list[Record], mark: Stamp, _pair: int) -> None:
    records.append(_daily_of(mark, mark.day + timedelta(days=400)))


def _daily_of(mark: Stamp, day: date) -> Record:
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - mark.offset_s
    other = Stamp(mark.user_id, mark.short_id, day, midnight, mark.offset_s)
    return Record("dailies", other.open_dated(midnight, 86_400, "-15180") + ',"steps":4321}', str(day))


def _user_access_token(records: list[Record], mark: Stamp, _pair: int) -> None:
    token = f"{mark.user_id[:8]}-{mark.user_id[8:12]}-4000-8000-{mark.user_id[12:24]}"
    _edit(records, "dailies", lambda daily: daily.update(userAccessToken=token))


# -- of the rules of which record counts


def _older_state(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Half a day, further down in the body than the whole: a shorter version is no update."""
    for kind in ("dailies", "stressDetails"):
        _add_half(records, kind, "-half")


def _add_half(records: list[Record], kind: str, suffix: str) -> None:
    for record in [record for record in records if record.type == kind][:1]:
        fields = json.loads(record.text)
        fields |= {"summaryId": f"{fields['summaryId']}{suffix}", "durationInSeconds": 43_200}
        fields |= {name: fields[name] // 2 for name in ("steps",) if isinstance(fields.get(name), int)}
        records.append(Record(kind, _text(fields)))


def _older_state_later(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """The same in a later body, instead of the whole day: Garmin sends again what could not be sent before."""
    _add_half(records, "dailies", "-half-late")
    del records[0]


def _no_duration(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """A version without a duration counts as long as the longest: receipt and place in the body decide."""
    for record in [record for record in records if record.type == "dailies"][:1]:
        fields = json.loads(record.text)
        del fields["durationInSeconds"]
        records.append(Record("dailies", _text(fields | {"floorsClimbed": 77})))


def _reconciled_epochs(records: list[Record], mark: Stamp, _pair: int) -> None:
    """A later delivery of four starts, with another activity type: it replaces all of them and is not added."""
    for quarter in range(40, 44):
        start = mark.at(15 * quarter)
        fields = json.loads(mark.open(start, 900, "-1") + "}")
        records.append(Record("epochs", _text(fields | {"activityType": "RUNNING", "steps": 1234})))


def _moved_activity(records: list[Record], mark: Stamp, _pair: int) -> None:
    """An activity, and its edit that moves it to the next day."""
    number, tomorrow = str(mark.at(600)), mark.day + timedelta(days=1)
    for kind, minute, filed in (("activities", 600, ""), ("manuallyUpdatedActivities", 2040, str(tomorrow))):
        fields = json.loads(mark.open(mark.at(minute), 1200) + "}")
        extra = {"summaryId": number, "activityId": int(number), "activityName": "Moved", "activityType": "OTHER"}
        records.append(Record(kind, _text(fields | extra | {"activeKilocalories": 50, "manual": True}), filed))


def _metrics_in_parts(records: list[Record], mark: Stamp, _pair: int) -> None:
    """Two records of a date, each with a field that the other has as null."""
    fields: Fields = {"userId": mark.user_id, "calendarDate": str(mark.day)}
    parts: list[Fields] = [{"vo2Max": 33.3, "fitnessAge": None}, {"vo2Max": None, "fitnessAge": 44}]
    for number, part in enumerate(parts):
        summary_id = {"summaryId": f"{mark.short_id}-part-{number}"}
        records.append(Record("userMetrics", _text({**fields, **summary_id, **part})))


def _overlapping_sleeps(records: list[Record], mark: Stamp, _pair: int) -> None:
    """Of a night a longer draft, and its sleeper's correction, which is shorter; beside it a nap and an empty wrist."""
    for begin, minutes, validation in (
        (-120, 700, "AUTO_TENTATIVE"),
        (30, 330, "AUTO_MANUAL"),
        (840, 40, "AUTO_FINAL"),
        (900, 500, "OFF_WRIST"),
    ):
        records.append(_sleep_of(mark, begin, minutes, {"awakeDurationInSeconds": 600, "validation": validation}))


def _sleep_of(mark: Stamp, begin: int, minutes: int, extra: Fields, *, dated: bool = True) -> Record:
    opening = mark.open_dated if dated else mark.open
    fields = json.loads(opening(mark.at(begin), 60 * minutes, "-planted") + "}")
    return Record("sleeps", _text(fields | extra))


def _night_without_date(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Nights and their HRV belong to the date of waking, also where nothing says so."""
    for kind in ("sleeps", "hrv"):
        _edit(records, kind, lambda night: night.pop("calendarDate", None))


def _duration_with_awake(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Garmin's own example counts awake time into the duration; the stages decide."""

    def lengthen(sleep: Fields) -> None:
        sleep["durationInSeconds"] += sleep["awakeDurationInSeconds"]

    _edit(records, "sleeps", lengthen)


def _no_awake_time(records: list[Record], _mark: Stamp, _pair: int) -> None:
    def forget(sleep: Fields) -> None:
        sleep.pop("awakeDurationInSeconds", None)
        sleep.get("sleepLevelsMap", {}).pop("awake", None)

    _edit(records, "sleeps", forget)


def _duration_near_stages(records: list[Record], _mark: Stamp, pair: int) -> None:
    """A duration 120 s short of the stages, which count; of every other pair 121 s, and the duration counts."""

    def shorten(sleep: Fields) -> None:
        sleep["durationInSeconds"] -= 120 + pair % 2

    _edit(records, "sleeps", shorten)


def _awake_in_map_only(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """The awake intervals tell how long, where no field does."""

    def forget(sleep: Fields) -> None:
        if "awake" in sleep["sleepLevelsMap"]:
            sleep.pop("awakeDurationInSeconds", None)

    _edit(records, "sleeps", forget)


def _unmeasurable_spelled_otherwise(records: list[Record], _mark: Stamp, _pair: int) -> None:
    def respell(sleep: Fields) -> None:
        sleep["unmeasurableSleepDurationInSeconds"] = sleep.pop("unmeasurableSleepInSeconds")

    _edit(records, "sleeps", respell)


def _hrv_twice(records: list[Record], mark: Stamp, _pair: int) -> None:
    """Two that are no versions of each other: the one received last counts, here the one further down."""
    for begin, average in ((-40, 31), (20, 47)):
        fields = json.loads(mark.open_dated(mark.at(begin), 20_000, "-hrv") + "}")
        records.append(Record("hrv", _text(fields | {"lastNightAvg": average, "hrvValues": {"300": average}})))


def _samples_outside(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Samples before the beginning and after the end of their record are not of it."""
    _add_samples(records, {"-15": 199, "90015": 199, "99000": 199})


def _no_data_samples(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Samples that say nothing: 0, negative ones, null, text."""
    _add_samples(records, {"7": 0, "22": -1, "37": None, "52": "none", "67": "61"})


def _add_samples(records: list[Record], samples: Fields) -> None:
    _edit(records, "dailies", lambda daily: daily.setdefault("timeOffsetHeartRateSamples", {}).update(samples))


def _milliseconds(records: list[Record], mark: Stamp, _pair: int) -> None:
    """A start in milliseconds is no start; the date is stated."""
    fields = json.loads(mark.open_dated(1000 * mark.midnight_s, 180) + "}")
    records.append(Record("pulseox", _text(fields | {"timeOffsetSpo2Values": {"0": 93}, "onDemand": False})))


def _path_names(records: list[Record], _mark: Stamp, _pair: int) -> None:
    """Types spelled as in the paths of Garmin's REST API."""
    names = {"pulseox": "pulseOx", "allDayRespiration": "respiration", "moveIQActivities": "moveiq"}
    records[:] = [record._replace(type=names.get(record.type, record.type)) for record in records]


_TRAPS: dict[str, Trap] = {
    "average-stresslevel": _average_stresslevel,
    "missing-calendar-date": _missing_calendar_date,
    "shared-summary-id": _shared_summary_id,
    "device-validation": _device_validation,
    "high-stress-overflow": _high_stress_overflow,
    "off-grid-offsets": _off_grid_offsets,
    "negative-start": _negative_start,
    "text-activity-id": _text_activity_id,
    "numbers-as-text": _numbers_as_text,
    "nulls": _nulls,
    "nested": _nested,
    "unknown-type": _unknown_type,
    "no-date": _no_date,
    "ancient": _ancient,
    "future": _future,
    "user-access-token": _user_access_token,
    "older-state": _older_state,
    "no-duration": _no_duration,
    "moved-activity": _moved_activity,
    "metrics-in-parts": _metrics_in_parts,
    "overlapping-sleeps": _overlapping_sleeps,
    "night-without-date": _night_without_date,
    "duration-with-awake": _duration_with_awake,
    "no-awake-time": _no_awake_time,
    "unmeasurable-otherwise": _unmeasurable_spelled_otherwise,
    "hrv-twice": _hrv_twice,
    "samples-outside": _samples_outside,
    "no-data-samples": _no_data_samples,
    "milliseconds": _milliseconds,
    "path-names": _path_names,
    "duration-near-stages": _duration_near_stages,
    "awake-in-map-only": _awake_in_map_only,
}
_LATER_TRAPS: dict[str, Trap] = {
    "older-state-later": _older_state_later,
    "reconciled-epochs": _reconciled_epochs,
}

LATER: frozenset[str] = frozenset(_LATER_TRAPS)
TRAPS: tuple[str, ...] = (*_TRAPS, *_LATER_TRAPS)
"""The traps by name."""
