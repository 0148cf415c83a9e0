"""Garmin's summaries of a participant's day, as JSON text.

Belongs here: which fields each summary type has, and how they follow from the signals. When a summary is
sent, how often and in which body is `delivery.py`.

Text is written directly rather than through dictionaries: a day has some 150 records and 60 KB of samples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from garmin_sim.physiology import (
    EFFORT,
    IN_MOTION,
    MINUTES,
    QUARTERS,
    SESSION_KCAL,
    SPEED_MPS,
    Bout,
    Day,
    Night,
    Session,
)
from garmin_sim.samples import hundredth_map, integer_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from garmin_sim.people import Life, Participant

NOON = MINUTES // 2
RESPIRATION_BLOCK_MIN = 360
VALIDATIONS = (
    *["ENHANCED_FINAL"] * 12,
    *["AUTO_FINAL"] * 3,
    *["DEVICE"] * 2,
    "AUTO_MANUAL",
    "MANUAL",
    "OFF_WRIST",
    "AUTO_TENTATIVE",
    "ENHANCED_TENTATIVE",
    "Enhanced_Final",
    "auto_final",
)
TYPE_CODES = {"SEDENTARY": 8, "WALKING": 6, "RUNNING": 1, "CYCLING": 2, "GENERIC": 0}


class Record(NamedTuple):
    """One summary: Garmin's type name and the JSON object's text.

    `filed` is the date (ISO) it is stored under where that is not the day it was made for, `user` the Garmin user where
    that is not the participant's first account.
    """

    type: str
    text: str
    filed: str = ""
    user: str = ""


@dataclass(frozen=True)
class Version:
    """One sending of a day's summaries.

    It covers the day up to minute `upto`; what had ended by minute `since` went with an earlier version. `at`
    is when (UTC seconds). `revision` 1 is a later recalculation at the same duration.
    """

    at: int
    upto: int
    since: int = 0
    revision: int = 0

    @property
    def full(self) -> bool:
        """Whether the day was over."""
        return self.upto == MINUTES

    def brings(self, end_min: int) -> bool:
        """Return whether something that ended at this minute goes with this version for the first time."""
        return self.since < max(end_min, 1) <= self.upto and not self.revision


@dataclass(frozen=True)
class Stamp:
    """The fields that every summary of a participant and day shares."""

    user_id: str
    short_id: str
    day: date
    midnight_s: int
    offset_s: int
    change_min: int = MINUTES  # from which minute on the clock shows another offset
    later_offset_s: int = 0

    def open(self, start_s: int, duration_s: int, suffix: str = "") -> str:
        """Return the beginning of a summary: user, summaryId, start, offset and duration."""
        return (
            f'{{"userId":"{self.user_id}","summaryId":"{self.short_id}-{start_s:x}{suffix}",'
            f'"startTimeInSeconds":{start_s},"startTimeOffsetInSeconds":{self.offset_s},'
            f'"durationInSeconds":{duration_s}'
        )

    def open_dated(self, start_s: int, duration_s: int, suffix: str = "") -> str:
        """Return the same, with the calendar date."""
        return f'{self.open(start_s, duration_s, suffix)},"calendarDate":"{self.day}"'

    def at(self, minute: int) -> int:
        """UTC seconds of a local minute of the day."""
        return self.midnight_s + 60 * minute


def stamp(life: Life, index: int, user: str = "") -> Stamp:
    """Return the shared fields of day `index` of a life, for the participant's first account or another."""
    day = life.first + timedelta(days=index)
    offset = life.offset_s[index]
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - offset
    user = user or life.participant.user_id
    if life.day_min(index) == MINUTES:
        return Stamp(user, f"x{user[:7]}", day, midnight, offset)
    # Clocks in Europe are changed at 01:00 UTC.
    return Stamp(user, f"x{user[:7]}", day, midnight, offset, 60 + offset // 60, life.offset_s[index + 1])


def day_records(day: Day, version: Version) -> list[Record]:
    """Return all summaries that a version of a worn day brings, of every account that sends the day.

    On days that two accounts send, the device of the first is worn until noon.
    """
    first, *others = day.life.accounts(day.index)
    if not others and first == day.life.participant.user_id:
        return _account_records(day, stamp(day.life, day.index), version)
    records: list[Record] = []
    for user in (first, *others):
        mark = stamp(day.life, day.index, user)
        until_noon = replace(version, upto=min(version.upto, NOON), since=min(version.since, NOON))
        sent = _account_records(day, mark, until_noon if others and user == first else version)
        records += [record._replace(user=user) for record in sent]
    return records


def _account_records(day: Day, mark: Stamp, version: Version) -> list[Record]:
    records = [Record("dailies", daily(day, mark, version))]
    if version.revision:
        return records + _renamed_activity(day, mark)
    records += [Record("stressDetails", text) for text in _stress(day, mark, version)]
    records += [Record("epochs", text) for text in _epochs(day, mark, version)]
    records += [Record("allDayRespiration", text) for text in _respiration(day, mark, version)]
    records += _night(day, mark, version)
    records += _occasional(day, mark, version)
    records += _exercise(day, mark, version)
    if day.life.shift_min(day.index) and version.full:
        records.append(Record("dailies", _daily_before_landing(day, mark, version)))
    return records


def idle_records(life: Life, index: int) -> list[Record]:
    """Return what a device that nobody wears reports of a day: a summary without data."""
    mark = stamp(life, index, life.accounts(index)[-1])
    bmr = _bmr_kcal(life.participant)
    text = (
        f'{mark.open_dated(mark.midnight_s, 86400, "-15180")},"activityType":"GENERIC",'
        f'"activeKilocalories":0,"bmrKilocalories":{bmr},"steps":0,"pushes":0,'
        f'"distanceInMeters":0.0,"pushDistanceInMeters":0.0,'
        f'"activeTimeInSeconds":0,"moderateIntensityDurationInSeconds":0,"vigorousIntensityDurationInSeconds":0,'
        f'"floorsClimbed":0,"averageStressLevel":-1,"stepsGoal":8000,"intensityDurationGoalInSeconds":9000,'
        f'"floorsClimbedGoal":10}}'
    )
    return [Record("dailies", text, user=mark.user_id)]


def _bmr_kcal(who: Participant) -> int:
    """Return what the body burns at rest in a day (Mifflin 1990)."""
    one, of_sex = who.traits, -161 if who.traits.female else 5
    return int(10 * one.weight_g / 1000 + 625 * one.height_m - 5 * one.age_years + of_sex)


def daily(day: Day, mark: Stamp, version: Version) -> str:
    """Return the daily summary up to the version's minute; that of a whole day is as long as the day."""
    who, upto = day.life.participant, version.upto
    length_s = 60 * (day.life.day_min(day.index) if version.full else upto)
    steps, kcal = int(day.steps[:upto].sum()), int(day.kcal[: upto // 15].sum())
    suffix = f"-{length_s:x}" + ("-r" if version.revision else "")
    kcal += kcal // 25 if version.revision else 0
    return (
        f'{mark.open_dated(mark.midnight_s, length_s, suffix)},"activityType":"WALKING",'
        f'"activeKilocalories":{kcal},"bmrKilocalories":{_bmr_kcal(who) * upto // MINUTES},"steps":{steps},"pushes":0,'
        f'"distanceInMeters":{round(steps * who.stride_m, 2)},"pushDistanceInMeters":0.0,'
        f'"activeTimeInSeconds":{60 * int(day.active[:upto].sum())},'
        f'"moderateIntensityDurationInSeconds":{60 * int(day.moderate[:upto].sum())},'
        f'"vigorousIntensityDurationInSeconds":{60 * int(day.vigorous[:upto].sum())},'
        f'"floorsClimbed":{int(day.floors[:upto].sum())}{_daily_heart(day, upto)}{_daily_stress(day, upto)},'
        f'"stepsGoal":8000,"intensityDurationGoalInSeconds":9000,"floorsClimbedGoal":10}}'
    )


def _daily_heart(day: Day, upto: int) -> str:
    seen = day.heart_seen[: 4 * upto]
    samples = day.heart_rate[: 4 * upto]
    if not seen.any():
        return ""
    worn = samples[seen]
    week_average = round(day.life.participant.traits.resting_hr_bpm + 13)
    return (
        f',"minHeartRateInBeatsPerMinute":{int(worn.min())},"maxHeartRateInBeatsPerMinute":{int(worn.max())},'
        f'"averageHeartRateInBeatsPerMinute":{week_average},"restingHeartRateInBeatsPerMinute":{day.resting_hr},'
        f'"timeOffsetHeartRateSamples":{integer_map(15, samples, seen, 1)}'
    )


def _daily_stress(day: Day, upto: int) -> str:
    stress, battery = day.stress[: upto // 3], day.battery[: upto // 3]
    known = stress[stress >= 0]
    if not known.size:
        return ',"averageStressLevel":-1'
    seconds = 180 * np.bincount(known, minlength=101)
    rest, low, medium, high = np.add.reduceat(seconds, (0, 26, 51, 76)).tolist()
    average, change = int(known.mean()), np.diff(battery)
    quality = ("calm", "balanced", "stressful", "very_stressful")[int(np.searchsorted((26, 38, 50), average, "right"))]
    return (
        f',"averageStressLevel":{average},"maxStressLevel":{int(known.max())},'
        f'"stressDurationInSeconds":{low + medium + high},"restStressDurationInSeconds":{rest},'
        f'"activityStressDurationInSeconds":{180 * int((stress == IN_MOTION).sum())},'
        f'"lowStressDurationInSeconds":{low},"mediumStressDurationInSeconds":{medium},'
        f'"highStressDurationInSeconds":{high},"stressQualifier":"{quality}",'
        f'"bodyBatteryChargedValue":{int(change[change > 0].sum())},'
        f'"bodyBatteryDrainedValue":{int(-change[change < 0].sum())}'
    )


def _daily_before_landing(day: Day, mark: Stamp, version: Version) -> str:
    """On a day that began under another clock: what the device had sent before its clock moved."""
    old_offset = day.life.offset_s[day.index - 1]
    before = Stamp(mark.user_id, mark.short_id, mark.day, mark.midnight_s + mark.offset_s - old_offset, old_offset)
    return daily(day, before, Version(version.at, 8 * 60))


def _stress(day: Day, mark: Stamp, version: Version) -> Iterator[str]:
    """One record a day; two of half a day each where the device was changed at noon."""
    upto = min(version.upto, day.life.day_min(day.index))
    if day.index != day.life.device_change:
        yield _stress_between(day, mark, 0, upto)
        return
    yield _stress_between(day, mark, 0, min(NOON, upto))
    if upto > NOON:
        yield _stress_between(day, mark, NOON, upto)


def _stress_between(day: Day, mark: Stamp, begin: int, end: int) -> str:
    part = slice(begin // 3, end // 3)
    events = ""
    night = day.nights[0] if day.nights else None
    if night and not begin and night.wake <= end:
        gain = int(day.battery[max(0, night.wake // 3 - 1)]) - int(day.battery[max(0, night.onset // 3)])
        events = (
            f'{{"eventType":"SLEEP","eventStartTimeInSeconds":{mark.at(night.onset)},'
            f'"eventStartTimeOffsetInSeconds":{mark.offset_s},'
            f'"duration":{60 * (night.wake - night.onset)},"bodyBatteryImpact":{gain}}}'
        )
    return (
        f"{mark.open_dated(mark.at(begin), 60 * (end - begin), f'-{60 * (end - begin):x}')},"
        f'"timeOffsetStressLevelValues":{integer_map(180, day.stress[part])},'
        f'"timeOffsetBodyBatteryValues":{integer_map(180, day.battery[part])},'
        f'"bodyBatteryActivityEvents":[{events}]}}'
    )


def _epochs(day: Day, mark: Stamp, version: Version) -> Iterator[str]:
    """Quarters of an hour: the active part, and the sedentary part where it is at least half.

    A device that reports once a minute has a record for each minute.
    """
    if day.life.participant.persona == "once_a_minute":
        yield from _minute_epochs(day, mark, version)
        return
    stride = day.life.participant.stride_m
    steps = day.steps.reshape(QUARTERS, 15).sum(axis=1).tolist()
    worn = day.worn.reshape(QUARTERS, 15).sum(axis=1).tolist()
    active = day.active.reshape(QUARTERS, 15).sum(axis=1).tolist()
    kcal = day.kcal.tolist()
    head = f'{{"userId":"{mark.user_id}","summaryId":"{mark.short_id}-'
    for quarter in range(version.since // 15, version.upto // 15):
        moved, seen = active[quarter], worn[quarter]
        if not seen:
            continue
        start = mark.midnight_s + 900 * quarter
        offset_s = mark.offset_s if 15 * quarter < mark.change_min else mark.later_offset_s
        time = f'"startTimeInSeconds":{start},"startTimeOffsetInSeconds":{offset_s}'
        if moved:
            kind = _epoch_type(day.session, quarter)
            pace = steps[quarter] // moved
            yield (
                f'{head}{start:x}-{TYPE_CODES[kind]}",{time},"durationInSeconds":900,'
                f'"activityType":"{kind}","activeKilocalories":{kcal[quarter]},"steps":{steps[quarter]},'
                f'"distanceInMeters":{round(steps[quarter] * stride, 2)},'
                f'"activeTimeInSeconds":{60 * moved},"met":{1.8 + pace / 40},'
                f'"intensity":"{"HIGHLY_ACTIVE" if pace > 130 else "ACTIVE"}",'
                f'"meanMotionIntensity":{min(7, 1 + moved // 3)}.0,'
                f'"maxMotionIntensity":{min(7, 2 + moved // 2)}.0}}'
            )
        if seen - moved >= 8 or not moved:
            yield (
                f'{head}{start:x}-8",{time},"durationInSeconds":900,'
                f'"activityType":"SEDENTARY","activeKilocalories":0,"steps":0,'
                f'"distanceInMeters":0.0,"activeTimeInSeconds":{60 * (seen - moved)},"met":1.0,'
                f'"intensity":"SEDENTARY","meanMotionIntensity":0.3,"maxMotionIntensity":1.0}}'
            )


def _minute_epochs(day: Day, mark: Stamp, version: Version) -> Iterator[str]:
    stride, span = day.life.participant.stride_m, slice(version.since, version.upto)
    minutes = zip(day.worn[span].tolist(), day.active[span].tolist(), day.steps[span].tolist(), strict=True)
    for minute, (worn, active, steps) in enumerate(minutes, version.since):
        kind = _epoch_type(day.session, minute // 15) if active else "SEDENTARY"
        if worn:
            yield (
                f'{mark.open(mark.at(minute), 60, f"-{TYPE_CODES[kind]}")},"activityType":"{kind}",'
                f'"activeKilocalories":{steps // 25},"steps":{steps},"distanceInMeters":{round(steps * stride, 2)},'
                f'"activeTimeInSeconds":{60 * active},"met":{1.8 + steps / 40 if active else 1.0},'
                f'"intensity":"{"HIGHLY_ACTIVE" if steps > 130 else "ACTIVE" if active else "SEDENTARY"}",'
                f'"meanMotionIntensity":{3.0 if active else 0.3},"maxMotionIntensity":{5.0 if active else 1.0}}}'
            )


def _epoch_type(session: Session | None, quarter: int) -> str:
    if session and session.start < 15 * quarter + 15 and session.start + session.minutes > 15 * quarter:
        return session.sport if session.sport in TYPE_CODES else "GENERIC"
    return "WALKING"


def _respiration(day: Day, mark: Stamp, version: Version) -> Iterator[str]:
    """Blocks of six hours, each sent once it is complete; no field holds the date."""
    for begin in range(0, MINUTES, RESPIRATION_BLOCK_MIN):
        end = begin + RESPIRATION_BLOCK_MIN
        breaths = day.breaths[begin // 3 : end // 3]
        if version.brings(end) and breaths.any():
            opening = mark.open(mark.at(begin), 60 * RESPIRATION_BLOCK_MIN)
            yield f'{opening},"timeOffsetEpochToBreaths":{hundredth_map(180, breaths, breaths > 0)}}}'


# -- nights


def _night(day: Day, mark: Stamp, version: Version) -> list[Record]:
    return [record for night in day.nights for record in _night_records(day, night, mark, version)]


def _night_records(day: Day, night: Night, mark: Stamp, version: Version) -> Iterator[Record]:
    if night.wake > version.upto:
        return
    yield Record("sleeps", _sleep(day, night, mark, version))
    if not version.brings(night.wake):
        return
    opening = mark.open_dated(mark.at(night.onset), 60 * (night.wake - night.onset))
    who = day.life.participant
    if who.has_night_sensors or 0 <= day.life.device_change <= day.index:
        values = night.variability
        samples = integer_map(300, values)
        averages = f'"lastNightAvg":{round(float(values.mean()))},"lastNight5MinHigh":{int(values.max())}'
        yield Record("hrv", f'{opening},{averages},"hrvValues":{samples}}}')
        yield Record("skinTemp", f'{opening},"avgDeviationCelsius":{night.skin_celsius}}}')
    if who.has_pulse_ox:
        opening = mark.open_dated(mark.at(night.onset), 60 * (night.wake - night.onset), "-spo2")
        samples = integer_map(180, night.oxygen)
        yield Record("pulseox", f'{opening},"timeOffsetSpo2Values":{samples},"onDemand":false}}')


def _sleep(day: Day, night: Night, mark: Stamp, version: Version) -> str:
    """Return the sleep: tentative and without naps while the day goes on, final with the full day."""
    validation = VALIDATIONS[int(day.draws[0] * len(VALIDATIONS))]
    if not version.full:
        validation = validation.upper().replace("FINAL", "TENTATIVE")
    nap = day.nap if version.full else None
    spans: dict[str, list[dict[str, int]]] = {}
    totals = dict.fromkeys(("deep", "light", "rem", "awake", "unmeasurable"), 0)
    for level, begin, end in night.levels:
        totals[level] += 60 * (end - begin)
        if level != "unmeasurable":
            span = {"startTimeInSeconds": mark.at(begin), "endTimeInSeconds": mark.at(end)}
            spans.setdefault(level, []).append(span)
    asleep = totals["deep"] + totals["light"] + totals["rem"]
    has_oxygen = day.life.participant.has_pulse_ox
    oxygen = f'"timeOffsetSleepSpo2":{integer_map(180, night.oxygen)},' if has_oxygen else ""
    return (
        f"{mark.open_dated(mark.at(night.onset), asleep, f'-{60 * version.upto:x}')},"
        f'"totalNapDurationInSeconds":{60 * nap.minutes if nap else 0},'
        f'"unmeasurableSleepInSeconds":{totals["unmeasurable"]},"deepSleepDurationInSeconds":{totals["deep"]},'
        f'"lightSleepDurationInSeconds":{totals["light"]},"remSleepInSeconds":{totals["rem"]},'
        f'"awakeDurationInSeconds":{totals["awake"]},"sleepLevelsMap":{_compact(spans)},"validation":"{validation}",'
        f'"timeOffsetSleepRespiration":{hundredth_map(180, night.breaths)},'
        f"{oxygen}"
        f'{_sleep_score(asleep, totals["awake"])},"naps":[{_nap(nap, mark) if nap else ""}]}}'
    )


def _sleep_score(asleep_s: int, awake_s: int) -> str:
    score = max(10, min(98, round(88 - abs(asleep_s - 27_000) / 400 - awake_s / 300)))
    qualifier = "POOR" if score < 60 else "FAIR" if score < 80 else "GOOD" if score < 90 else "EXCELLENT"
    return f'"overallSleepScore":{{"value":{score},"qualifierKey":"{qualifier}"}}'


def _nap(nap: Bout, mark: Stamp) -> str:
    return (
        f'{{"napDurationInSeconds":{60 * nap.minutes},"napStartTimeInSeconds":{mark.at(nap.start)},'
        f'"napOffsetInSeconds":{mark.offset_s},"napValidation":"DEVICE"}}'
    )


# -- things that do not happen every day


def _occasional(day: Day, mark: Stamp, version: Version) -> Iterator[Record]:
    """Fitness estimates, spot checks, scale and cuff."""
    who, wake, draws = day.life.participant, day.life.wake_min[day.index], day.draws
    if draws[1] < 0.5 and version.brings(wake):
        yield Record("userMetrics", _compact(_fitness(day, mark)))
    if draws[2] < 0.06 and version.brings(930):
        opening = mark.open_dated(mark.midnight_s, 0, "-spo2OnDemand")
        value = f'{{"55740":{int(94 + 5 * draws[3])}}}'
        yield Record("pulseox", f'{opening},"timeOffsetSpo2Values":{value},"onDemand":true}}')
    if draws[4] < 0.05 and version.brings(780):
        yield Record("healthSnapshot", _compact(_snapshot(day, mark)))
    if who.has_scale and (day.index + who.index) % 7 == 0 and version.brings(wake + 10):
        yield Record("bodyComps", _compact(_weighing(day, mark, wake + 10)))
    if who.has_cuff and draws[6] < 0.3 and version.brings(wake + 25):
        yield Record("bloodPressures", _compact(_pressure(day, mark, wake + 25)))


def _fitness(day: Day, mark: Stamp) -> dict[str, Any]:
    who = day.life.participant
    return {
        "userId": mark.user_id,
        "summaryId": f"{mark.short_id}-{mark.day}",
        "calendarDate": str(mark.day),
        "vo2Max": round(who.traits.vo2max + 0.01 * day.index + 0.4 * day.draws[7], 1),
        "fitnessAge": round(who.traits.fitness_age),
        "enhanced": day.draws[8] < 0.5,
    }


def _measured(mark: Stamp, minute: int) -> dict[str, Any]:
    return {
        "userId": mark.user_id,
        "summaryId": f"{mark.short_id}-{mark.at(minute):x}",
        "measurementTimeInSeconds": mark.at(minute),
        "measurementTimeOffsetInSeconds": mark.offset_s,
    }


def _weighing(day: Day, mark: Stamp, minute: int) -> dict[str, Any]:
    traits = day.life.participant.traits
    weight = int(traits.weight_g * (0.99 + 0.02 * day.draws[5]))
    fat = round(15 + 7 * traits.female + 0.15 * traits.age_years + 3 * day.draws[5], 1)
    return _measured(mark, minute) | {
        "weightInGrams": weight,
        "bodyFatInPercent": fat,
        "bodyMassIndex": round(weight / 1000 / traits.height_m**2, 1),
        "muscleMassInGrams": int(weight * (1 - fat / 100) * 0.52),
        "boneMassInGrams": int(weight * 0.042),
        "bodyWaterInPercent": round((100 - fat) * 0.73, 1),
    }


def _pressure(day: Day, mark: Stamp, minute: int) -> dict[str, Any]:
    systolic = int(104 + 0.4 * day.life.participant.traits.age_years + 12 * day.draws[9])
    return _measured(mark, minute) | {
        "systolic": systolic,
        "diastolic": int(systolic * 0.62 + 6 * day.draws[10]),
        "pulse": day.resting_hr + 6,
        "sourceType": "DEVICE" if day.draws[11] < 0.7 else "MANUAL",
    }


def _snapshot(day: Day, mark: Stamp) -> dict[str, Any]:
    pulse = day.resting_hr + 8
    return {
        "userId": mark.user_id,
        "summaryId": f"{mark.short_id}-{mark.at(778):x}-snapshot",
        "calendarDate": str(mark.day),
        "startTimeInSeconds": mark.at(778),
        "durationInSeconds": 120,
        "offsetStartTimeInSeconds": mark.offset_s,
        "summaries": [
            _snapshot_of("heart_rate", [pulse, pulse + 2, pulse + 1]),
            _snapshot_of("respiration", [14.6, 15.1, 14.4]),
            _snapshot_of("stress", [24, 27, 25]),
            _snapshot_of("spo2", [96, 97, 96]),
        ],
    }


def _snapshot_of(kind: str, values: list[float]) -> dict[str, Any]:
    return {
        "summaryType": kind,
        "minValue": float(min(values)),
        "maxValue": float(max(values)),
        "avgValue": round(sum(values) / len(values), 2),
        "epochSummaries": {str(60 * i): float(value) for i, value in enumerate(values)},
    }


# -- exercise


def _exercise(day: Day, mark: Stamp, version: Version) -> Iterator[Record]:
    session = day.session
    if session and version.brings(session.start + session.minutes):
        parts = _parts(session)
        for part, sport in parts:
            yield Record("activities", _compact(_activity(day, mark, part, sport, parts)))
        yield Record("activityDetails", _compact(_details(day, mark, session)))
    if day.draws[12] < 0.05 and version.brings(1035):
        yield Record("activities", _compact(_manual_activity(mark)))
    long_walks = (bout for bout in day.bouts if bout.minutes >= 10 and day.steps[bout.start] > 0)
    for bout in sorted(long_walks, key=lambda bout: bout.start)[:1]:
        if version.brings(bout.start + bout.minutes):
            yield Record("moveIQActivities", _compact(_move_iq(mark, bout)))


def _parts(session: Session) -> list[tuple[Bout, str]]:
    """Return a session as activities: a multi-sport one is a parent and the sports that make it up."""
    if not session.multi_sport:
        return [(session, session.sport)]
    third = session.minutes // 3
    legs = ("LAP_SWIMMING", "CYCLING", "RUNNING")
    parts: list[tuple[Bout, str]] = [(session, "MULTI_SPORT")]
    return parts + [(Bout(session.start + i * third, third), sport) for i, sport in enumerate(legs)]


def _activity_id(mark: Stamp, minute: int) -> int:
    """Return a number unique to user and start."""
    return int(mark.user_id[:6], 16) * 1_000_000 + mark.at(minute) // 60 % 1_000_000


def _activity(day: Day, mark: Stamp, part: Bout, sport: str, parts: list[tuple[Bout, str]]) -> dict[str, Any]:
    life, minutes = day.life, slice(part.start, part.start + part.minutes)
    leg = 0 if part is parts[0][0] else 1 + [sport for _, sport in parts[1:]].index(sport)
    number = _activity_id(mark, day.session.start if day.session else 0) + leg
    steps = int(day.steps[minutes].sum())
    pulse = day.heart_rate[4 * minutes.start : 4 * minutes.stop]
    device = life.participant.next_device if 0 <= life.device_change <= day.index else life.participant.device
    activity: dict[str, Any] = {
        "userId": mark.user_id,
        "summaryId": str(number),
        "activityId": number,
        "activityName": sport.replace("_", " ").title(),
        "activityType": sport,
        "startTimeInSeconds": mark.at(part.start),
        "startTimeOffsetInSeconds": mark.offset_s,
        "durationInSeconds": 60 * part.minutes,
        "averageHeartRateInBeatsPerMinute": int(pulse.mean()),
        "maxHeartRateInBeatsPerMinute": int(pulse.max()),
        "activeKilocalories": _activity_kcal(day, part),
        "deviceName": device,
    }
    if steps:
        activity["steps"] = steps
    metres = steps * life.participant.stride_m or SPEED_MPS.get(sport, 0.0) * 60 * part.minutes
    if metres:
        activity["distanceInMeters"] = round(metres, 2)
        activity["averageSpeedInMetersPerSecond"] = round(metres / (60 * part.minutes), 3)
    if leg:
        activity["parentSummaryId"] = str(number - leg)
    elif len(parts) > 1:
        activity["isParent"] = True
    return activity


def _activity_kcal(day: Day, part: Bout) -> int:
    """Unlike those of a day, an activity's kilocalories count what the body burns at rest."""
    who, effort = day.life.participant, EFFORT[day.session.sport] if day.session else 0.0
    return int(part.minutes * (SESSION_KCAL * who.traits.weight_g / 1000 * effort + _bmr_kcal(who) / MINUTES))


def _manual_activity(mark: Stamp) -> dict[str, Any]:
    number = _activity_id(mark, 1005) + 7
    return {
        "userId": mark.user_id,
        "summaryId": str(number),
        "activityId": number,
        "activityName": "Yoga",
        "activityType": "YOGA",
        "startTimeInSeconds": mark.at(1005),
        "startTimeOffsetInSeconds": mark.offset_s,
        "durationInSeconds": 1800,
        "activeKilocalories": 95,
        "manual": True,
    }


def _renamed_activity(day: Day, mark: Stamp) -> list[Record]:
    """With a revision, a participant has renamed the session."""
    if not day.session:
        return []
    parts = _parts(day.session)
    activity = _activity(day, mark, *parts[0], parts) | {"activityName": "With friends"}
    return [Record("manuallyUpdatedActivities", _compact(activity))]


def _details(day: Day, mark: Stamp, session: Session) -> dict[str, Any]:
    """Laps and a sample every 5 minutes; the start is inside `summary`, as Garmin has it."""
    parts = _parts(session)
    whole = _activity(day, mark, *parts[0], parts)
    flat = ("userId", "summaryId", "activityId", "isParent")
    samples = [
        {
            "startTimeInSeconds": mark.at(minute),
            "heartRate": int(day.heart_rate[4 * minute]),
            "timerDurationInSeconds": 60 * (minute - session.start),
            "clockDurationInSeconds": 60 * (minute - session.start),
        }
        for minute in range(session.start, session.start + session.minutes, 5)
    ]
    return {
        "userId": mark.user_id,
        "summaryId": f"{whole['summaryId']}-detail",
        "activityId": whole["activityId"],
        "summary": {name: value for name, value in whole.items() if name not in flat},
        "samples": samples,
        "laps": [{"startTimeInSeconds": mark.at(session.start)}],
    }


def _move_iq(mark: Stamp, bout: Bout) -> dict[str, Any]:
    return {
        "userId": mark.user_id,
        "summaryId": f"{mark.short_id}-{mark.at(bout.start):x}-iq",
        "calendarDate": str(mark.day),
        "startTimeInSeconds": mark.at(bout.start),
        "durationInSeconds": 60 * bout.minutes,
        "offsetInSeconds": mark.offset_s,
        "activityType": "Walking",
        "activitySubType": "Casual",
    }


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
