"""What the simulated Garmin cloud makes: Garmin's fields, plausible lives, versions, traps, and the lake."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import pytest

from garmin_sim import TRAPS, Delivery, Simulation, write_lake
from garmin_sim.delivery import lives
from garmin_sim.parameters import last_synced_sunday
from garmin_sim.people import PERSONAS, RARE, Persona, live, make_participant, persona_of
from garmin_sim.physiology import make_day
from qol_ingest.records import parse_body
from qol_ingest.webhook import objects

Fields = dict[str, Any]
Key = tuple[Any, ...]

SUNDAY = date(2026, 3, 1)
TIMED = {"userId", "summaryId", "startTimeInSeconds", "startTimeOffsetInSeconds", "durationInSeconds"}
DATED = TIMED | {"calendarDate"}
MEASURED = {"userId", "summaryId", "measurementTimeInSeconds", "measurementTimeOffsetInSeconds"}
ACTIVITY = TIMED | {"activityId", "activityName", "activityType", "activeKilocalories"}
OF_A_WORN_DAY = {
    "minHeartRateInBeatsPerMinute",
    "maxHeartRateInBeatsPerMinute",
    "averageHeartRateInBeatsPerMinute",
    "restingHeartRateInBeatsPerMinute",
    "timeOffsetHeartRateSamples",
    "averageStressLevel",
    "maxStressLevel",
    "stressDurationInSeconds",
    "restStressDurationInSeconds",
    "activityStressDurationInSeconds",
    "lowStressDurationInSeconds",
    "mediumStressDurationInSeconds",
    "highStressDurationInSeconds",
    "stressQualifier",
    "bodyBatteryChargedValue",
    "bodyBatteryDrainedValue",
}
ALWAYS: dict[str, set[str]] = {
    "dailies": DATED
    | {"activityType", "steps", "distanceInMeters", "activeTimeInSeconds", "activeKilocalories", "bmrKilocalories"}
    | {"moderateIntensityDurationInSeconds", "vigorousIntensityDurationInSeconds", "floorsClimbed", "pushes"}
    | {"pushDistanceInMeters", "stepsGoal", "intensityDurationGoalInSeconds", "floorsClimbedGoal"},
    "epochs": TIMED
    | {"activityType", "activeTimeInSeconds", "steps", "distanceInMeters", "activeKilocalories", "met", "intensity"}
    | {"meanMotionIntensity", "maxMotionIntensity"},
    "sleeps": DATED
    | {"unmeasurableSleepInSeconds", "deepSleepDurationInSeconds", "lightSleepDurationInSeconds", "remSleepInSeconds"}
    | {"awakeDurationInSeconds", "totalNapDurationInSeconds", "sleepLevelsMap", "timeOffsetSleepRespiration"}
    | {"overallSleepScore", "naps", "validation"},
    "stressDetails": DATED
    | {"timeOffsetStressLevelValues", "timeOffsetBodyBatteryValues", "bodyBatteryActivityEvents"},
    "hrv": DATED | {"lastNightAvg", "lastNight5MinHigh", "hrvValues"},
    "skinTemp": DATED | {"avgDeviationCelsius"},
    "pulseox": DATED | {"timeOffsetSpo2Values", "onDemand"},
    "allDayRespiration": TIMED | {"timeOffsetEpochToBreaths"},
    "userMetrics": {"userId", "summaryId", "calendarDate", "vo2Max", "fitnessAge", "enhanced"},
    "bodyComps": MEASURED
    | {"weightInGrams", "bodyFatInPercent", "bodyMassIndex", "muscleMassInGrams", "boneMassInGrams"}
    | {"bodyWaterInPercent"},
    "bloodPressures": MEASURED | {"systolic", "diastolic", "pulse", "sourceType"},
    "healthSnapshot": {"userId", "summaryId", "calendarDate", "startTimeInSeconds", "durationInSeconds"}
    | {"offsetStartTimeInSeconds", "summaries"},
    "moveIQActivities": {"userId", "summaryId", "calendarDate", "startTimeInSeconds", "durationInSeconds"}
    | {"offsetInSeconds", "activityType", "activitySubType"},
    "activities": ACTIVITY,
    "manuallyUpdatedActivities": ACTIVITY,
    "activityDetails": {"userId", "summaryId", "activityId", "summary", "samples", "laps"},
}
OF_AN_ACTIVITY = {"averageHeartRateInBeatsPerMinute", "maxHeartRateInBeatsPerMinute", "deviceName", "steps"} | {
    "distanceInMeters",
    "averageSpeedInMetersPerSecond",
    "isParent",
    "parentSummaryId",
    "manual",
}
SOMETIMES: dict[str, set[str]] = {
    "dailies": OF_A_WORN_DAY,
    "sleeps": {"timeOffsetSleepSpo2"},
    "activities": OF_AN_ACTIVITY,
    "manuallyUpdatedActivities": OF_AN_ACTIVITY,
}
KEYS = {
    "epochs": ("startTimeInSeconds", "activityType"),
    "pulseox": ("startTimeInSeconds", "onDemand"),
    "userMetrics": ("calendarDate",),
    "bodyComps": ("measurementTimeInSeconds",),
    "bloodPressures": ("measurementTimeInSeconds",),
    "activities": ("summaryId",),
    "manuallyUpdatedActivities": ("summaryId",),
    "activityDetails": ("summaryId",),
}
"""Garmin's keys after user and type; the start time for all other types."""


TEXT = {"userId", "summaryId", "calendarDate", "activityType", "activitySubType", "activityName", "deviceName"} | {
    "stressQualifier",
    "validation",
    "intensity",
    "sourceType",
    "parentSummaryId",
}


class Sent(NamedTuple):
    """One summary of one request."""

    at: datetime
    type: str
    fields: Fields


def summaries_of(deliveries: list[Delivery]) -> Iterator[Sent]:
    for delivery in deliveries:
        for kind, summaries in json.loads(delivery.body).items():
            for fields in summaries:
                yield Sent(delivery.at, kind, fields)


def key_of(kind: str, fields: Fields) -> Key:
    return (fields["userId"], kind, *(fields.get(name) for name in KEYS.get(kind, ("startTimeInSeconds",))))


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return Simulation(20, 2, SUNDAY, seed=3)


@pytest.fixture(scope="module")
def deliveries(sim: Simulation) -> list[Delivery]:
    return list(sim.deliveries())


@pytest.fixture(scope="module")
def sent(deliveries: list[Delivery]) -> list[Sent]:
    return list(summaries_of(deliveries))


@pytest.fixture(scope="module")
def final(sent: list[Sent]) -> dict[Key, Fields]:
    """The summaries that remain when the one sent last wins."""
    return {key_of(kind, fields): fields for _, kind, fields in sent}


def of_type(final: dict[Key, Fields], kind: str) -> list[Fields]:
    return [fields for key, fields in final.items() if key[1] == kind]


def worn_dailies(final: dict[Key, Fields]) -> list[Fields]:
    return [daily for daily in of_type(final, "dailies") if "timeOffsetHeartRateSamples" in daily]


def whole_days(final: dict[Key, Fields]) -> list[Fields]:
    return [daily for daily in worn_dailies(final) if daily["durationInSeconds"] == 86_400]


def by_user(records: list[Fields]) -> dict[str, list[Fields]]:
    grouped: dict[str, list[Fields]] = defaultdict(list)
    for record in records:
        grouped[record["userId"]].append(record)
    return grouped


def user_of(sim: Simulation, persona: Any) -> str:
    return sim.user_ids()[PERSONAS.index(persona)]


# -- reproducible


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again = (list(Simulation(3, 1, SUNDAY, seed=5).deliveries()) for _ in range(2))
    assert first == again
    assert first


def test_another_seed_gives_other_people_with_other_lives() -> None:
    one, other = (Simulation(3, 1, SUNDAY, seed=seed) for seed in (5, 6))
    assert set(one.user_ids()).isdisjoint(other.user_ids())
    assert heart_rates(one).isdisjoint(heart_rates(other))


def heart_rates(sim: Simulation) -> set[str]:
    found = (fields.get("timeOffsetHeartRateSamples") for _, _, fields in summaries_of(list(sim.deliveries())))
    return {json.dumps(samples) for samples in found if samples}


def test_user_ids_depend_on_the_seed_and_the_position_only() -> None:
    few = Simulation(3, 1, SUNDAY, seed=5).user_ids()
    assert Simulation(50, 9, date(2025, 1, 5), seed=5, traps=frozenset({"all"})).user_ids()[:3] == few
    assert len(set(few)) == 3
    assert all(len(user) == 32 and int(user, 16) for user in few)


def test_ten_thousand_participants_have_ids_of_their_own() -> None:
    assert len(set(Simulation(10_000, 1, SUNDAY).user_ids())) == 10_000


def test_the_dates_are_whole_weeks_up_to_until() -> None:
    dates = Simulation(3, 2, SUNDAY).dates()
    assert (dates[0], dates[-1], len(dates)) == (date(2026, 2, 16), SUNDAY, 14)


def test_without_until_the_dates_end_on_a_sunday_and_all_is_sent_by_now() -> None:
    sim = Simulation(12, 1)
    last = sim.dates()[-1]
    assert last.weekday() == 6
    assert timedelta(days=2) <= (datetime.now(UTC) + timedelta(hours=9)).date() - last <= timedelta(days=8)
    assert max(delivery.at for delivery in sim.deliveries()) < datetime.now(UTC)


@pytest.mark.parametrize(
    ("now", "sunday"),
    [
        (datetime(2026, 11, 29, 14, 59, tzinfo=UTC), date(2026, 11, 22)),  # Sunday night in Japan
        (datetime(2026, 11, 30, 14, 59, tzinfo=UTC), date(2026, 11, 22)),  # Monday night
        (datetime(2026, 11, 30, 15, 0, tzinfo=UTC), date(2026, 11, 29)),  # Tuesday
    ],
)
def test_a_sunday_is_the_last_once_the_day_of_its_last_syncs_is_over_in_japan(now: datetime, sunday: date) -> None:
    assert last_synced_sunday(now) == sunday


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"participants": 0}, "participants is 0"),
        ({"weeks": 0}, "weeks is 0"),
        ({"weeks": 521}, "weeks is 521"),
        ({"seed": -1}, "seed is -1"),
        ({"until": date(1, 1, 7)}, "until is 0001-01-07"),
        ({"until": date(9999, 12, 31)}, "until is 9999-12-31"),
        ({"traps": frozenset({"nulls", "nuls"})}, "unknown traps nuls;"),
    ],
)
def test_a_value_out_of_range_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Simulation(**({"participants": 3, "weeks": 1} | wrong))


# -- as Garmin documents it


def test_every_body_is_json_by_type_and_names_its_users(deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        body = json.loads(delivery.body)
        assert set(body) <= set(ALWAYS)
        assert all(body.values())
        assert {fields["userId"] for summaries in body.values() for fields in summaries} == delivery.users
        assert len(delivery.body) <= 1_000_000


def test_every_documented_type_is_sent(sent: list[Sent]) -> None:
    assert {kind for _, kind, _ in sent} == set(ALWAYS)


def test_every_summary_has_the_documented_fields_and_no_other(sent: list[Sent]) -> None:
    for _, kind, fields in sent:
        assert ALWAYS[kind] <= set(fields), kind
        assert set(fields) <= ALWAYS[kind] | SOMETIMES.get(kind, set()), kind


def test_every_field_keeps_one_type_and_only_names_are_text(sent: list[Sent]) -> None:
    seen: dict[tuple[str, str], set[type]] = defaultdict(set)
    for _, kind, fields in sent:
        for name, value in fields.items():
            seen[kind, name].add(type(value))
    assert all(len(types) == 1 for types in seen.values())
    assert {name for (_, name), types in seen.items() if str in types} == TEXT


def test_durations_stay_within_a_day(sent: list[Sent]) -> None:
    durations = [fields["durationInSeconds"] for _, _, fields in sent if "durationInSeconds" in fields]
    assert min(durations) >= 0
    assert max(durations) == 86_400


@pytest.mark.parametrize(
    ("kind", "name", "step_s"),
    [
        ("dailies", "timeOffsetHeartRateSamples", 15),
        ("stressDetails", "timeOffsetStressLevelValues", 180),
        ("stressDetails", "timeOffsetBodyBatteryValues", 180),
        ("allDayRespiration", "timeOffsetEpochToBreaths", 180),
        ("hrv", "hrvValues", 300),
    ],
)
def test_sample_offsets_lie_on_their_grid_in_order_and_within_the_duration(
    sent: list[Sent], kind: str, name: str, step_s: int
) -> None:
    maps = [
        (fields[name], fields["durationInSeconds"]) for _, type_, fields in sent if type_ == kind and name in fields
    ]
    assert maps
    for samples, duration_s in maps:
        offsets = [int(offset) for offset in samples]
        assert offsets == sorted(offsets)
        assert all(offset % step_s == 0 for offset in offsets)
        if name == "timeOffsetHeartRateSamples":  # a sample stands for the 15 s before its offset
            offsets = [offset - step_s for offset in offsets]
        assert 0 <= offsets[0] <= offsets[-1] < duration_s


def test_stress_samples_below_zero_are_garmins_codes(sent: list[Sent]) -> None:
    values = {
        value
        for _, kind, fields in sent
        if kind == "stressDetails"
        for value in fields["timeOffsetStressLevelValues"].values()
    }
    assert {value for value in values if value < 0} == {-1, -2, -3, -4, -5}
    assert max(values) <= 100


def test_a_sleep_is_as_long_as_its_levels(final: dict[Key, Fields]) -> None:
    sleeps = of_type(final, "sleeps")
    assert sleeps
    for sleep in sleeps:
        spans = {level: spans_of(sleep, level) for level in ("deep", "light", "rem", "awake")}
        length = {level: sum(end - start for start, end in found) for level, found in spans.items()}
        assert length["deep"] == sleep["deepSleepDurationInSeconds"]
        assert length["light"] == sleep["lightSleepDurationInSeconds"]
        assert length["rem"] == sleep["remSleepInSeconds"]
        assert length["awake"] == sleep["awakeDurationInSeconds"]
        assert length["deep"] + length["light"] + length["rem"] == sleep["durationInSeconds"]
        inside = sorted(span for found in spans.values() for span in found)
        assert all(end <= start for (_, end), (start, _) in pairwise(inside))
        assert inside[0][0] == sleep["startTimeInSeconds"]
        in_bed = sleep["durationInSeconds"] + sleep["awakeDurationInSeconds"] + sleep["unmeasurableSleepInSeconds"]
        assert inside[-1][1] <= sleep["startTimeInSeconds"] + in_bed


def spans_of(sleep: Fields, level: str) -> list[tuple[int, int]]:
    spans = sleep["sleepLevelsMap"].get(level, [])
    return [(span["startTimeInSeconds"], span["endTimeInSeconds"]) for span in spans]


def test_a_daily_agrees_with_its_own_samples_and_with_its_epochs(final: dict[Key, Fields]) -> None:
    steps: Counter[tuple[str, date]] = Counter()
    for epoch in of_type(final, "epochs"):
        steps[epoch["userId"], local(epoch).date()] += epoch["steps"]
    for daily in whole_days(final):
        samples = daily["timeOffsetHeartRateSamples"].values()
        assert daily["minHeartRateInBeatsPerMinute"] == min(samples)
        assert daily["maxHeartRateInBeatsPerMinute"] == max(samples)
        assert daily["steps"] == steps[daily["userId"], date.fromisoformat(daily["calendarDate"])]


def local(fields: Fields, name: str = "startTime") -> datetime:
    shown = fields[f"{name}InSeconds"] + fields[f"{name}OffsetInSeconds"]
    return datetime.fromtimestamp(shown, UTC)


def test_a_multi_sport_activity_is_a_parent_and_its_children(final: dict[Key, Fields]) -> None:
    activities = {activity["summaryId"]: activity for activity in of_type(final, "activities")}
    parents = [number for number, activity in activities.items() if activity.get("isParent")]
    assert parents
    for number in parents:
        children = [one for one in activities.values() if one.get("parentSummaryId") == number]
        assert activities[number]["activityType"] == "MULTI_SPORT"
        assert {child["activityType"] for child in children} == {"LAP_SWIMMING", "CYCLING", "RUNNING"}
        assert sum(child["durationInSeconds"] for child in children) <= activities[number]["durationInSeconds"]


# -- versions and deliveries


def test_every_date_is_covered(sim: Simulation, final: dict[Key, Fields]) -> None:
    assert {daily["calendarDate"] for daily in of_type(final, "dailies")} == {str(day) for day in sim.dates()}


def test_later_versions_of_a_summary_are_never_shorter(sent: list[Sent]) -> None:
    lasted: dict[Key, int] = {}
    for _, kind, fields in sent:
        duration = fields.get("durationInSeconds", 0)
        assert duration >= lasted.get(key_of(kind, fields), 0)
        lasted[key_of(kind, fields)] = duration


def test_the_version_sent_last_is_the_full_day(final: dict[Key, Fields]) -> None:
    # A day cut short by travel keeps a part under the old clock beside the whole day.
    longest: dict[tuple[str, str], int] = defaultdict(int)
    for daily in of_type(final, "dailies"):
        day = daily["userId"], daily["calendarDate"]
        longest[day] = max(longest[day], daily["durationInSeconds"])
    assert set(longest.values()) == {86_400}


def test_partial_days_hold_the_first_samples_of_the_full_day(sent: list[Sent], final: dict[Key, Fields]) -> None:
    parts = 0
    for _, kind, fields in sent:
        if kind != "dailies" or "timeOffsetHeartRateSamples" not in fields or fields["durationInSeconds"] == 86_400:
            continue
        whole = final[key_of(kind, fields)]
        if whole["durationInSeconds"] < 86_400:
            continue
        parts += 1
        part_s = fields["durationInSeconds"]
        first = {at: bpm for at, bpm in whole["timeOffsetHeartRateSamples"].items() if int(at) <= part_s}
        assert fields["timeOffsetHeartRateSamples"] == first
        assert fields["steps"] <= whole["steps"]
        assert fields["summaryId"] != whole["summaryId"]
    assert parts > 20


def test_requests_are_in_the_order_of_sending(deliveries: list[Delivery]) -> None:
    assert all(one.at <= other.at for one, other in pairwise(deliveries))


def test_nothing_is_sent_before_it_has_happened(sent: list[Sent]) -> None:
    for at, _, fields in sent:
        if "startTimeInSeconds" in fields and "durationInSeconds" in fields:
            assert fields["startTimeInSeconds"] + fields["durationInSeconds"] <= at.timestamp()


def test_bodies_mix_users_and_types_and_some_come_twice(deliveries: list[Delivery]) -> None:
    assert sum(len(delivery.users) > 1 for delivery in deliveries) > 10
    assert sum(len(json.loads(delivery.body)) > 1 for delivery in deliveries) > 10
    assert max(Counter(delivery.body for delivery in deliveries).values()) == 2


def test_some_days_come_out_of_order_and_some_ten_days_late(sent: list[Sent]) -> None:
    order: dict[str, dict[str, None]] = defaultdict(dict)
    lateness: list[timedelta] = []
    for at, kind, fields in sent:
        if kind == "dailies" and fields["durationInSeconds"] == 86_400:
            order[fields["userId"]].setdefault(fields["calendarDate"])
            lateness.append(at.date() - date.fromisoformat(fields["calendarDate"]))
    assert any(list(days) != sorted(days) for days in order.values())
    assert timedelta(days=10) <= max(lateness) <= timedelta(days=14)
    assert median(lateness) == timedelta(days=1)


# -- plausible lives


def test_wear_and_heart_rate_samples_are_those_of_worn_days(final: dict[Key, Fields]) -> None:
    counts = sorted(len(daily["timeOffsetHeartRateSamples"]) for daily in whole_days(final))
    assert counts[-1] <= 5_760
    assert median(counts) > 5_000
    assert sum(count / 4 >= 600 for count in counts) > 0.9 * len(counts)


def test_each_participants_averages_are_plausible(final: dict[Key, Fields]) -> None:
    for days in by_user(whole_days(final)).values():
        assert 1_000 < mean(day["steps"] for day in days) < 18_000
        assert 42 <= mean(day["restingHeartRateInBeatsPerMinute"] for day in days) <= 85
        assert 15 < mean(day["averageStressLevel"] for day in days) < 60
        assert all(0 <= day["averageStressLevel"] <= day["maxStressLevel"] <= 100 for day in days)
    assert 5_000 < mean(day["steps"] for day in whole_days(final)) < 10_000
    for nights in by_user(of_type(final, "sleeps")).values():
        assert 240 < mean(night["durationInSeconds"] / 60 for night in nights) < 560
    for nights in by_user(of_type(final, "hrv")).values():
        assert 12 <= mean(night["lastNightAvg"] for night in nights) <= 115
        assert all(night["lastNight5MinHigh"] == max(night["hrvValues"].values()) for night in nights)


def test_participants_differ_more_from_each_other_than_from_themselves(final: dict[Key, Fields]) -> None:
    people = [[day["restingHeartRateInBeatsPerMinute"] for day in days] for days in by_user(whole_days(final)).values()]
    means = [mean(rates) for rates in people]
    assert max(means) - min(means) > 10
    assert median(max(rates) - min(rates) for rates in people) < 8


def test_stress_is_mostly_low_and_sometimes_high(final: dict[Key, Fields]) -> None:
    days = whole_days(final)
    high, known = 0, 0
    for day in days:
        high += day["highStressDurationInSeconds"]
        known += day["stressDurationInSeconds"] + day["restStressDurationInSeconds"]
    assert 0.01 < high / known < 0.15


def test_people_sleep_in_their_local_night(final: dict[Key, Fields]) -> None:
    for sleep in of_type(final, "sleeps"):
        day = datetime.combine(date.fromisoformat(sleep["calendarDate"]), datetime.min.time(), UTC)
        assert timedelta(hours=-4) < local(sleep) - day < timedelta(hours=5)


def test_people_go_to_bed_later_before_free_days(final: dict[Key, Fields]) -> None:
    onsets: dict[bool, list[float]] = defaultdict(list)
    for sleep in of_type(final, "sleeps"):
        day = date.fromisoformat(sleep["calendarDate"])
        midnight = datetime.combine(day, datetime.min.time(), UTC)
        onsets[day.weekday() >= 5].append((local(sleep) - midnight).total_seconds() / 60)
    assert mean(onsets[True]) > mean(onsets[False]) + 20


def test_on_working_days_people_walk_in_the_hour_of_the_way_home(final: dict[Key, Fields]) -> None:
    steps: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for epoch in of_type(final, "epochs"):
        at = local(epoch)
        steps[at.weekday() >= 5][at.hour] += epoch["steps"]
    assert steps[False][18] / 10 > 1.5 * steps[True][18] / 4


def test_an_illness_raises_the_resting_heart_rate_and_lowers_the_steps(
    sim: Simulation, final: dict[Key, Fields]
) -> None:
    index = PERSONAS.index("ill")
    life = live(make_participant(sim.seed, index), sim.seed, sim.dates()[0], len(sim.dates()))
    ill = {str(day) for day, level in zip(sim.dates(), life.illness, strict=False) if level >= 0.5}
    mine = by_user(whole_days(final))[sim.user_ids()[index]]
    sick = [day for day in mine if day["calendarDate"] in ill]
    well = [day for day in mine if day["calendarDate"] not in ill]
    assert len(sick) >= 2
    rate = "restingHeartRateInBeatsPerMinute"
    assert mean(day[rate] for day in sick) > mean(day[rate] for day in well) + 2
    assert mean(day["steps"] for day in sick) < mean(day["steps"] for day in well)


def test_some_days_are_absent_some_idle_and_some_hours_off_the_wrist(sim: Simulation, final: dict[Key, Fields]) -> None:
    dailies = of_type(final, "dailies")
    present = {(daily["userId"], daily["calendarDate"]) for daily in dailies}
    assert len(present) < 20 * 14
    idle = [daily for daily in dailies if "timeOffsetHeartRateSamples" not in daily]
    assert idle
    assert all(daily["steps"] == 0 and daily["averageStressLevel"] == -1 for daily in idle)
    stress = [record["timeOffsetStressLevelValues"].values() for record in of_type(final, "stressDetails")]
    assert sum(list(values).count(-1) > 60 for values in stress) > 10
    silent = by_user(dailies)[user_of(sim, "silent")]
    assert max(daily["calendarDate"] for daily in silent) < str(sim.dates()[-2])


def test_a_night_may_be_over_at_midnight() -> None:
    sim = Simulation(1, 1, seed=1, personas=("steady",))
    (life,) = lives(sim)
    early = replace(life, onset_min=[-200] * 8, wake_min=[0] * 8, gap_min=[0] * 8)
    days = [make_day(early, seed, 3) for seed in range(20)]  # some walk at night, others do not
    assert {(night.onset, night.wake) for day in days for night in day.nights} == {(-200, 0)}


def test_who_never_wears_it_at_night_has_no_sleep(sim: Simulation, final: dict[Key, Fields]) -> None:
    user = user_of(sim, "day_only")
    kinds = {key[1] for key in final if key[0] == user}
    assert "dailies" in kinds
    assert kinds.isdisjoint({"sleeps", "hrv", "skinTemp"})


def test_travel_changes_the_offset_there_and_back(sim: Simulation, final: dict[Key, Fields]) -> None:
    offsets = {
        user: {daily["startTimeOffsetInSeconds"] for daily in dailies}
        for user, dailies in by_user(of_type(final, "dailies")).items()
    }
    assert len(offsets[user_of(sim, "traveller")]) == 2
    assert 32_400 in offsets[user_of(sim, "traveller")]
    assert offsets[user_of(sim, "steady")] == {32_400}
    for daily in of_type(final, "dailies"):
        assert (local(daily).time().isoformat(), str(local(daily).date())) == ("00:00:00", daily["calendarDate"])


def test_a_new_device_splits_the_stress_of_one_day(sim: Simulation, final: dict[Key, Fields]) -> None:
    halves = [
        record["durationInSeconds"]
        for record in by_user(of_type(final, "stressDetails"))[user_of(sim, "new_device")]
        if record["durationInSeconds"] < 86_400
    ]
    assert halves == [43_200, 43_200]


# -- those for whom definitions break


def one_of(persona: Persona, weeks: int = 2, until: date = SUNDAY) -> dict[Key, Fields]:
    """The final summaries of one participant of a persona."""
    sim = Simulation(1, weeks, until, seed=6, personas=(persona,))
    return {key_of(kind, fields): fields for _, kind, fields in summaries_of(list(sim.deliveries()))}


def test_rare_personas_are_rare_and_none_is_among_the_first_twenty() -> None:
    found = Counter(persona_of(1, index) for index in range(3_000))
    assert {persona_of(1, index) for index in range(20)} == set(PERSONAS)
    for persona, chance in RARE.items():
        assert 0.6 * chance < found[persona] / 3_000 < 1.5 * chance
    assert sum(RARE.values()) < 0.2


def test_an_unknown_persona_is_named() -> None:
    with pytest.raises(ValueError, match="unknown personas nobody; choose from steady"):
        Simulation.named(1, 1, SUNDAY, 0, traps="", personas="steady, nobody")


def test_a_shift_worker_sleeps_by_day_on_two_days_of_six() -> None:
    starts = [local(sleep).hour for sleep in of_type(one_of("shift_worker", 6), "sleeps")]
    assert 0.2 < sum(6 < hour < 12 for hour in starts) / len(starts) < 0.5


def test_a_shift_worker_on_duty_walks_at_night() -> None:
    final = one_of("shift_worker", 6)
    by_day = {local(sleep).date() for sleep in of_type(final, "sleeps") if 6 < local(sleep).hour < 12}
    steps: dict[bool, list[int]] = {True: [], False: []}
    for epoch in of_type(final, "epochs"):
        if local(epoch).hour < 5:
            steps[local(epoch).date() in by_day].append(epoch["steps"])
    assert mean(steps[True]) > 5 * mean(steps[False])


def test_a_split_sleeper_has_two_sleeps_of_one_date_with_an_hour_or_more_between() -> None:
    nights = by_date_of(of_type(one_of("split_sleeper"), "sleeps"))
    assert sum(len(night) == 2 for night in nights.values()) > 8
    for first, second in (sorted(night, key=start_of) for night in nights.values() if len(night) == 2):
        in_bed = sum(first[f"{part}InSeconds"] for part in ("duration", "awakeDuration", "unmeasurableSleep"))
        assert 3_600 <= start_of(second) - (start_of(first) + in_bed) <= 3 * 3_600


def by_date_of(records: list[Fields]) -> dict[str, list[Fields]]:
    grouped: dict[str, list[Fields]] = defaultdict(list)
    for record in records:
        grouped[record["calendarDate"]].append(record)
    return grouped


def start_of(record: Fields) -> int:
    return int(record["startTimeInSeconds"])


def test_an_insomniac_is_awake_for_more_than_a_fifth_of_the_night() -> None:
    sleeps = of_type(one_of("insomniac"), "sleeps")
    awake, asleep = (sum(sleep[name] for sleep in sleeps) for name in ("awakeDurationInSeconds", "durationInSeconds"))
    assert 0.2 < awake / (awake + asleep) < 0.45


def test_a_device_that_samples_once_a_minute_has_minutes_only() -> None:
    final = one_of("once_a_minute")
    assert {int(offset) % 60 for day in whole_days(final) for offset in day["timeOffsetHeartRateSamples"]} == {0}
    assert {epoch["durationInSeconds"] for epoch in of_type(final, "epochs")} == {60}
    steps = Counter[str]()
    for epoch in of_type(final, "epochs"):
        steps[str(local(epoch).date())] += epoch["steps"]
    assert all(daily["steps"] == steps[daily["calendarDate"]] for daily in whole_days(final))


@pytest.mark.parametrize(("sunday", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_where_clocks_are_changed_a_day_is_an_hour_shorter_or_longer_and_the_next_begins_at_its_end(
    sunday: date, hours: int
) -> None:
    final = one_of("abroad", until=sunday + timedelta(days=7))
    dailies = {daily["calendarDate"]: daily for daily in of_type(final, "dailies")}
    changed, after = dailies[str(sunday)], dailies[str(sunday + timedelta(days=1))]
    assert changed["durationInSeconds"] == hours * 3_600
    assert start_of(changed) + changed["durationInSeconds"] == start_of(after)
    assert {daily["durationInSeconds"] for day, daily in dailies.items() if day != str(sunday)} == {86_400}
    shown = {local(epoch).hour: epoch["startTimeOffsetInSeconds"] for epoch in of_type(final, "epochs")
             if start_of(changed) <= start_of(epoch) < start_of(after)}  # fmt: skip
    assert shown[1] == changed["startTimeOffsetInSeconds"]
    assert shown[22 if hours == 25 else 12] == after["startTimeOffsetInSeconds"] != shown[1]


def test_of_two_accounts_the_first_sends_until_half_way_and_both_for_two_days() -> None:
    final = one_of("two_accounts", weeks=4)
    sim = Simulation(1, 4, SUNDAY, seed=6, personas=("two_accounts",))
    first, second = (one.user_id for one in sim.enrolments())
    sent = {
        user: {daily["calendarDate"] for daily in dailies} for user, dailies in by_user(worn_dailies(final)).items()
    }
    half = [str(day) for day in sim.dates()[14:16]]
    assert set(sent) == {first, second}
    assert max(sent[first]) == half[1]
    assert min(sent[second]) == half[0]
    noon = {
        daily["durationInSeconds"] for daily in by_user(worn_dailies(final))[first] if daily["calendarDate"] in half
    }
    assert noon == {43_200}


@pytest.mark.parametrize("seed", range(4))
def test_what_comes_last_of_a_leaver_is_the_withdrawal(seed: int) -> None:
    sim = Simulation(2, 2, SUNDAY, seed=seed, personas=("leaver", "steady"))
    leaver, steady = sim.user_ids()
    kinds = [(kind, fields["userId"]) for _, kind, fields in summaries_of(list(sim.deliveries()))]
    last = max(number for number, (_, user) in enumerate(kinds) if user == leaver)
    assert kinds[last][0] in ("deregistrations", "userPermissionsChange")
    assert {kind for kind, user in kinds if user == steady}.isdisjoint({"deregistrations", "userPermissionsChange"})
    assert last < len(kinds) - 100


def test_both_ways_to_leave_occur() -> None:
    sim = Simulation(12, 1, SUNDAY, personas=("leaver",))
    kinds = Counter(kind for _, kind, _ in summaries_of(list(sim.deliveries())))
    assert 1 < kinds["deregistrations"] < 11
    assert kinds["deregistrations"] + kinds["userPermissionsChange"] == 12


def test_people_fall_silent_at_different_times() -> None:
    sim = Simulation(8, 8, SUNDAY, personas=("silent",))
    last = [life.syncs[-1].day for life in lives(sim)]
    assert len(set(last)) > 4
    assert 56 * 2 // 3 - 1 <= min(last) < max(last) <= 56 - 4


def test_everyone_is_enrolled_before_the_first_date_and_second_accounts_before_they_send() -> None:
    sim = Simulation(15, 2, SUNDAY, personas=("steady", "two_accounts", "silent"))
    begin = datetime.combine(sim.dates()[0], datetime.min.time(), UTC) - timedelta(hours=9)
    own = {one.user_id: one.at for one in sim.enrolments() if one.user_id == one.first_user_id}
    assert list(own) == sim.user_ids()
    assert all(begin - timedelta(days=15) < at < begin for at in own.values())
    others = [one for one in sim.enrolments() if one.user_id != one.first_user_id]
    assert [one.first_user_id for one in others] == sim.user_ids()[1::3]
    assert all(begin < one.at < begin + timedelta(days=7) for one in others)


# -- traps


@pytest.fixture(scope="module")
def trapped() -> tuple[Simulation, list[Sent]]:
    sim = Simulation(4, 1, SUNDAY, seed=2, traps=frozenset({"all"}))
    return sim, list(summaries_of(list(sim.deliveries())))


def start_date(fields: Fields) -> date:
    return date.fromisoformat(fields["calendarDate"])


SIGNS: dict[str, Any] = {
    "average-stresslevel": lambda kind, fields: kind == "dailies" and "averageStresslevel" in fields,
    "missing-calendar-date": lambda kind, fields: kind == "dailies" and "calendarDate" not in fields,
    "device-validation": lambda _kind, fields: fields.get("validation") == "Device",
    "high-stress-overflow": lambda _kind, fields: fields.get("highStressDurationInSeconds", 0) > 86_400,
    "off-grid-offsets": lambda _kind, fields: any(
        int(offset) % 15 for offset in fields.get("timeOffsetHeartRateSamples", ())
    ),
    "negative-start": lambda _kind, fields: int(fields.get("startTimeInSeconds", 0)) < 0,
    "text-activity-id": lambda kind, fields: kind == "activities" and isinstance(fields["activityId"], str),
    "numbers-as-text": lambda _kind, fields: isinstance(fields.get("steps"), str),
    "nulls": lambda kind, fields: kind == "dailies" and fields.get("stepsGoal", 0) is None,
    "nested": lambda _kind, fields: isinstance(fields.get("distanceInMeters"), list),
    "unknown-type": lambda kind, _fields: kind == "solarIntensity",
    "no-date": lambda kind, fields: kind == "userMetrics" and "calendarDate" not in fields,
    "ancient": lambda _kind, fields: "calendarDate" in fields and start_date(fields).year == 2023,
    "future": lambda _kind, fields: "calendarDate" in fields and start_date(fields).year == 2027,
    "user-access-token": lambda _kind, fields: "userAccessToken" in fields,
    "older-state": lambda kind, fields: kind == "stressDetails" and fields["summaryId"].endswith("-half"),
    "older-state-later": lambda _kind, fields: fields["summaryId"].endswith("-half-late"),
    "no-duration": lambda kind, fields: kind == "dailies" and "durationInSeconds" not in fields,
    "reconciled-epochs": lambda kind, fields: kind == "epochs" and fields["steps"] == 1234,
    "moved-activity": lambda kind, fields: kind == "manuallyUpdatedActivities" and fields["activityName"] == "Moved",
    "metrics-in-parts": lambda kind, fields: kind == "userMetrics" and fields["vo2Max"] is None,
    "overlapping-sleeps": lambda kind, fields: kind == "sleeps" and fields["summaryId"].endswith("-planted"),
    "night-without-date": lambda kind, fields: kind in ("sleeps", "hrv") and "calendarDate" not in fields,
    "duration-with-awake": lambda kind, fields: kind == "sleeps" and over_stages(fields) > 0,
    "no-awake-time": lambda kind, fields: kind == "sleeps" and has_no_awake_field(fields, in_map=False),
    "awake-in-map-only": lambda kind, fields: kind == "sleeps" and has_no_awake_field(fields, in_map=True),
    "duration-near-stages": lambda kind, fields: kind == "sleeps" and over_stages(fields) in (-120, -121),
    "unmeasurable-otherwise": lambda _kind, fields: "unmeasurableSleepDurationInSeconds" in fields,
    "hrv-twice": lambda kind, fields: kind == "hrv" and fields["summaryId"].endswith("-hrv"),
    "samples-outside": lambda _kind, fields: "99000" in fields.get("timeOffsetHeartRateSamples", ()),
    "no-data-samples": lambda _kind, fields: None in fields.get("timeOffsetHeartRateSamples", {}).values(),
    "milliseconds": lambda _kind, fields: int(fields.get("startTimeInSeconds", 0)) > 10**12,
    "path-names": lambda kind, _fields: kind in ("pulseOx", "respiration", "moveiq"),
}


def over_stages(sleep: Fields) -> int:
    names = ("deepSleepDurationInSeconds", "lightSleepDurationInSeconds", "remSleepInSeconds")
    return int(sleep["durationInSeconds"]) - sum(sleep.get(name, 10**6) for name in names)


def has_no_awake_field(sleep: Fields, *, in_map: bool) -> bool:
    return "awakeDurationInSeconds" not in sleep and ("awake" in sleep["sleepLevelsMap"]) == in_map


def shares_a_summary_id(sent: list[Sent]) -> bool:
    users: dict[str, set[str]] = defaultdict(set)
    for _, kind, fields in sent:
        if kind == "dailies":
            users[fields["summaryId"]].add(fields["userId"])
    return max(map(len, users.values())) > 1


def test_every_trap_has_a_sign() -> None:
    assert set(SIGNS) | {"shared-summary-id"} == set(TRAPS)


@pytest.mark.parametrize("trap", sorted(SIGNS))
def test_a_trap_plants_its_oddity_and_nothing_else_does(
    trap: str, trapped: tuple[Simulation, list[Sent]], sent: list[Sent]
) -> None:
    assert any(SIGNS[trap](kind, fields) for _, kind, fields in trapped[1])
    assert not any(SIGNS[trap](kind, fields) for _, kind, fields in sent)


def test_some_durations_are_as_near_to_their_stages_as_counts_and_some_a_second_further(
    trapped: tuple[Simulation, list[Sent]],
) -> None:
    assert {over_stages(fields) for _, kind, fields in trapped[1] if kind == "sleeps"} >= {-120, -121}


def test_the_shared_summary_id_is_that_of_two_users(trapped: tuple[Simulation, list[Sent]], sent: list[Sent]) -> None:
    assert shares_a_summary_id(trapped[1])
    assert not shares_a_summary_id(sent)


def test_one_trap_alone_plants_only_itself() -> None:
    sim = Simulation(2, 1, SUNDAY, seed=2, traps=frozenset({"nulls"}))
    found = list(summaries_of(list(sim.deliveries())))
    signs = {name for name, sign in SIGNS.items() if any(sign(kind, fields) for _, kind, fields in found)}
    assert signs == {"nulls"}


# -- the lake


def raw_lines(lake: Path) -> Iterator[tuple[str, Fields]]:
    for path in sorted((lake / "raw" / "daily").glob("date=*/*.jsonl")):
        for line in path.read_text("ascii").splitlines():
            yield path.parent.name.removeprefix("date="), json.loads(line)


def canonical(kind: str, fields: Fields) -> str:
    kept = {name: value for name, value in fields.items() if name != "userAccessToken" and not name.startswith("_")}
    return kind + json.dumps(kept, sort_keys=True)


@pytest.mark.slow
def test_a_lake_holds_the_summaries_of_the_deliveries(tmp_path: Path, trapped: tuple[Simulation, list[Sent]]) -> None:
    sim, sent = trapped
    report = write_lake(sim, tmp_path, files_per_day=2)
    lines = list(raw_lines(tmp_path))
    assert {canonical(line["_summary_type"], line) for _, line in lines} == {
        canonical(kind, fields) for _, kind, fields in sent
    }
    assert (report.lines, report.participant_days) == (len(lines), 4 * 7)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (report.files, report.bytes) == (len(files), sum(path.stat().st_size for path in files))


def test_in_a_lake_the_version_received_last_is_the_one_delivered_last(tmp_path: Path) -> None:
    sim = Simulation(4, 1, SUNDAY, seed=2)
    write_lake(sim, tmp_path)
    lines = sorted((line for _, line in raw_lines(tmp_path)), key=lambda line: line["_received_at"])
    stored = {key_of(line["_summary_type"], line): line for line in lines}
    delivered = {key_of(kind, fields): (kind, fields) for _, kind, fields in summaries_of(list(sim.deliveries()))}
    assert {canonical(line["_summary_type"], line) for line in stored.values()} == {
        canonical(kind, fields) for kind, fields in delivered.values()
    }


def test_lake_lines_carry_the_receivers_fields_and_lie_under_their_own_date(tmp_path: Path) -> None:
    write_lake(Simulation(8, 1, SUNDAY, seed=2, traps=frozenset({"all"})), tmp_path)
    dated_by = set()
    for folder, line in raw_lines(tmp_path):
        received = datetime.strptime(line["_received_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert len(line["_received_at"]) == 24
        assert len(line["_ingest_id"]) == 64
        assert "userAccessToken" not in line
        if "calendarDate" in line:
            rule, expected = "calendarDate", line["calendarDate"]
        elif line["_summary_type"] in ("sleeps", "hrv"):
            parts = ("durationInSeconds", "awakeDurationInSeconds", "unmeasurableSleepInSeconds")
            end = local(line) + timedelta(seconds=sum(line.get(part, 0) for part in parts))
            rule, expected = "waking", str(end.date())
        elif "startTimeInSeconds" in line:
            rule, expected = "start", str(local(line).date())
        elif "measurementTimeInSeconds" in line:
            rule, expected = "measurement", str(local(line, "measurementTime").date())
        elif "summary" in line:
            rule, expected = "start inside", str(local(line["summary"]).date())
        else:
            rule, expected = "receipt", str((received + timedelta(hours=9)).date())
        assert folder == expected, rule
        dated_by.add(rule)
    assert dated_by == {"calendarDate", "waking", "start", "measurement", "start inside", "receipt"}


@pytest.mark.slow
@pytest.mark.parametrize("traps", [frozenset(), frozenset({"all"})], ids=["plain", "traps"])
def test_a_lake_is_byte_for_byte_that_of_a_receiver_that_took_each_body_when_it_was_sent(
    tmp_path: Path, traps: frozenset[str]
) -> None:
    usual = Simulation(12, 1, SUNDAY, seed=2, traps=traps)
    rare = Simulation(len(RARE), 2, SUNDAY, seed=2, traps=traps, personas=tuple(RARE))
    for number, sim in enumerate((usual, rare)):
        assert written(sim, tmp_path / str(number)) == received(sim)


def written(sim: Simulation, folder: Path) -> dict[str, bytes]:
    write_lake(sim, folder)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.jsonl")}


def received(sim: Simulation) -> dict[str, bytes]:
    stored: dict[str, bytes] = {}
    for delivery in sim.deliveries():
        parsed = parse_body(delivery.body, delivery.at)
        for key, content in objects(parsed, delivery.body, delivery.at):
            stored.setdefault(key, content)
    return stored


def test_a_lake_in_few_files_has_the_same_lines(tmp_path: Path) -> None:
    sim = Simulation(3, 1, SUNDAY, seed=2)
    by_body = write_lake(sim, tmp_path / "bodies")
    packed = write_lake(sim, tmp_path / "packed", files_per_day=2)
    assert packed.files == 14 < by_body.files
    assert (packed.lines, packed.bytes) == (by_body.lines, by_body.bytes)
    assert sorted(map(str, raw_lines(tmp_path / "packed"))) == sorted(map(str, raw_lines(tmp_path / "bodies")))


@pytest.mark.parametrize("files_per_day", [None, 2])
def test_writing_a_lake_again_replaces_it(tmp_path: Path, files_per_day: int | None) -> None:
    sim = Simulation(3, 1, SUNDAY, seed=2)
    first = write_lake(sim, tmp_path, files_per_day=files_per_day)
    assert write_lake(sim, tmp_path, files_per_day=files_per_day) == first
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) == first.bytes


def test_a_lake_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files_per_day is 0"):
        write_lake(Simulation(3, 1, SUNDAY), tmp_path, files_per_day=0)


def test_progress_of_a_lake_ends_at_all_participant_days(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_lake(Simulation(4, 1, SUNDAY), tmp_path, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 28) for done in range(4, 29, 4)]


@pytest.mark.slow
def test_memory_for_a_lake_grows_with_no_more_than_the_days_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garmin_sim.delivery.KEPT_DAYS", 5)
    monkeypatch.setattr("garmin_sim.delivery.MAX_BODY", 100_000)  # so that few people fill a body
    write_lake(Simulation(8, 1, SUNDAY), tmp_path, files_per_day=2)  # fills the caches
    few, many = (peak_of_lake(participants, tmp_path) for participants in (8, 24))
    assert many < 1.3 * few


def peak_of_lake(participants: int, lake: Path) -> int:
    tracemalloc.start()
    try:
        write_lake(Simulation(participants, 1, SUNDAY, personas=("steady",)), lake, files_per_day=2)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_epochs_of_one_start_are_in_one_body_however_full_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garmin_sim.delivery.MAX_BODY", 5_000)
    bodies: dict[tuple[str, int], set[int]] = defaultdict(set)
    parted = 0
    for delivery in Simulation(participants=3, weeks=1, until=date(2026, 11, 15)).deliveries():
        epochs = json.loads(delivery.body).get("epochs", [])
        parted += bool(epochs)
        for epoch in epochs:
            bodies[epoch["userId"], epoch["startTimeInSeconds"]].add(hash(delivery.body))
    assert parted > 100
    assert {len(found) for found in bodies.values()} == {1}
