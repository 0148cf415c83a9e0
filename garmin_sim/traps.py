"""Oddities seen in real data, planted on purpose.

Belongs here: each trap by name, as a change to the summaries of one participant-day. All other summaries are
as Garmin documents them. On each participant a trap falls on one day of every seven; the two participants of
a pair share the day, because one trap takes two of them. Participant 0 wears the device day and night, so no
trap goes missing.
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


def plant(records: list[Record], names: Collection[str], mark: Stamp, participant: int, index: int) -> None:
    """Change the summaries of day `index` of a participant by the traps of that day, in place."""
    pair = participant // 2
    for number, (name, trap) in enumerate(_TRAPS.items()):
        if name in names and (index + number + 3 * pair) % 7 == 0:
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
}

TRAPS: tuple[str, ...] = tuple(_TRAPS)
"""The traps by name."""
