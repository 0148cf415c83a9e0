"""Who takes part, and how they live through the simulated window.

Belongs here: traits of a person (`Participant`) and what befalls them day by day (`Life`): sleep times, wear,
illness, travel, exercise, when their device syncs. No signal and no JSON is made here.

Everything is a function of (seed, participant, window), so any day can be made without the days before it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from datetime import date

Persona = Literal[
    "steady",  # wears it always, syncs every day
    "traveller",  # a trip to another UTC offset and back
    "day_only",  # never wears it at night
    "late_syncer",  # one gap of up to two weeks, then everything at once
    "silent",  # stops wearing it before the end
    "ill",  # some days of illness
    "new_device",  # changes device half way
    "triathlete",  # exercises most days, multi-sport on Sundays
    "owl",  # late to bed, later at weekends
    "patchy",  # often not worn
]
PERSONAS: tuple[Persona, ...] = (
    "steady",
    "traveller",
    "day_only",
    "late_syncer",
    "silent",
    "ill",
    "new_device",
    "triathlete",
    "owl",
    "patchy",
)
Wear = Literal["worn", "idle", "absent"]
"""worn: data; idle: the device reports an empty day; absent: nothing at all."""
Sport = Literal["RUNNING", "CYCLING", "LAP_SWIMMING", "STRENGTH_TRAINING", "WALKING"]

JST_S = 32_400
OFFSETS_ABROAD_S = (25_200, 28_800, 19_800, 43_200)  # Bangkok, Singapore, Delhi, Auckland
SPORTS: tuple[Sport, ...] = ("RUNNING", "CYCLING", "LAP_SWIMMING", "STRENGTH_TRAINING", "WALKING")
DEVICES = ("Forerunner 265", "vivosmart 5", "Venu 3", "Lily 2", "fenix 7", "Instinct 2")
SATURDAY, SUNDAY = 5, 6

_TRAITS, _LIFE, _SYNC = 1, 2, 3  # salts, so that one kind of draws never shifts another
_T = TypeVar("_T")


@dataclass(frozen=True)
class Participant:
    """The traits of one person; units are in the names."""

    index: int
    user_id: str
    persona: Persona
    age_years: int
    weight_g: int
    height_m: float
    stride_m: float
    resting_hr_bpm: float
    hrv_rmssd_ms: float
    vo2max: float
    stress_level: float
    steps_a_day: float
    bed_min: float  # from midnight; before midnight is negative
    sleep_need_min: float
    weekend_shift_min: float
    sport: Sport
    exercise_chance: float
    wake_stress: float
    device: str
    next_device: str
    has_night_sensors: bool  # HRV and skin temperature
    has_pulse_ox: bool  # oxygen through the night
    has_scale: bool
    has_cuff: bool
    naps: bool


class Sync(NamedTuple):
    """One sync of a device: day index of the window, minute of that day in Japan, whether today's part goes
    too."""

    day: int
    minute: int
    partial: bool


@dataclass(frozen=True)
class Life:
    """What befalls one participant; lists by day index 0..n-1, nights and offsets 0..n.

    Night d ends on day d: `onset_min` and `wake_min` count from the local midnight that begins day d.
    """

    participant: Participant
    first: date
    days: int
    onset_min: list[int]
    wake_min: list[int]
    offset_s: list[int]
    illness: list[float]  # 0 well to 1
    wear: list[Wear]
    night_worn: list[bool]
    exercise_min: list[int]  # 0 none
    device_change: int  # day index, or -1
    syncs: list[Sync]
    resent: list[bool]

    def shift_min(self, day: int) -> int:
        """Return how far the clock was moved at the start of a day, minutes; positive is eastward."""
        return (self.offset_s[day] - self.offset_s[day - 1]) // 60 if day else 0

    def weekday(self, day: int) -> int:
        """Monday is 0."""
        return (self.first.weekday() + day) % 7


def user_id(seed: int, index: int) -> str:
    """Return a Garmin user id: 32 hexadecimal digits."""
    return hashlib.sha256(f"garmin user {seed} {index}".encode()).hexdigest()[:32]


def generator(seed: int, index: int, *salt: int) -> np.random.Generator:
    """Return the random numbers of one participant and purpose."""
    return np.random.default_rng((seed, index, *salt))


def make_participant(seed: int, index: int) -> Participant:
    """Return the participant at a position; personas come round in turn, other traits are drawn."""
    rng = generator(seed, index, _TRAITS)
    persona = PERSONAS[index % len(PERSONAS)]
    athlete, owl = persona == "triathlete", persona == "owl"
    age, height = int(rng.integers(24, 78)), float(rng.normal(1.64, 0.085))
    fitness = float(np.clip(rng.normal(0.8 if athlete else 0.0, 0.7), -1.6, 2.0))
    return Participant(
        index=index,
        user_id=user_id(seed, index),
        persona=persona,
        age_years=age,
        weight_g=int(height * height * rng.normal(22.8, 2.6) * 1000),
        height_m=height,
        stride_m=round(height * 0.43, 2),
        resting_hr_bpm=float(np.clip(rng.normal(61 - 5 * fitness, 4), 42, 82)),
        hrv_rmssd_ms=float(np.clip(rng.normal(62 - 0.5 * age + 9 * fitness, 8), 14, 110)),
        vo2max=float(np.clip(52 - 0.27 * age + 4.5 * fitness + rng.normal(0, 1.5), 20, 68)),
        stress_level=float(np.clip(rng.normal(34, 6), 20, 52)),
        steps_a_day=float(np.clip(rng.normal(8200 + 1400 * fitness - 30 * (age - 50), 1800), 2500, 17000)),
        bed_min=float(rng.normal(85 if owl else -25, 35)),
        sleep_need_min=float(np.clip(rng.normal(415, 32), 340, 500)),
        weekend_shift_min=float(abs(rng.normal(110 if owl else 50, 25))),
        sport=_pick(rng, SPORTS),
        exercise_chance=0.75 if athlete else float(np.clip(rng.normal(0.25 + 0.1 * fitness, 0.1), 0.02, 0.7)),
        wake_stress=float(rng.normal(5, 2)),
        device=_pick(rng, DEVICES),
        next_device=_pick(rng, DEVICES),
        has_night_sensors=bool(rng.random() < 0.8),
        has_pulse_ox=bool(rng.random() < 0.6),
        has_scale=bool(rng.random() < 0.3),
        has_cuff=bool(rng.random() < 0.25),
        naps=bool(rng.random() < 0.3),
    )


def _pick(rng: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def live(participant: Participant, seed: int, first: date, days: int) -> Life:
    """Return a participant's life over `days` days from `first`."""
    rng = generator(seed, participant.index, _LIFE, first.toordinal())
    illness = _illness(participant, rng, days)
    onset, wake = _nights(participant, rng, first, days, illness)
    offset = _offsets(participant, rng, days)
    wear = _wear(participant, rng, days)
    syncs = _syncs(participant, generator(seed, participant.index, _SYNC, first.toordinal()), days)
    # On the night of an eastward flight nothing is worn: those hours were lived the day before.
    flown = [day > 0 and offset[day] > offset[day - 1] for day in range(days)]
    tired = rng.random(days) < (0.35 if participant.persona == "patchy" else 0.03)
    steady, never = participant.persona == "steady", participant.persona == "day_only"
    return Life(
        participant=participant,
        first=first,
        days=days,
        onset_min=onset,
        wake_min=wake,
        offset_s=offset,
        illness=illness,
        wear=wear,
        night_worn=[not never and not flown[d] and (steady or not tired[d]) for d in range(days)] + [not never],
        exercise_min=_exercise(participant, rng, illness, days),
        device_change=days // 2 if participant.persona == "new_device" else -1,
        syncs=syncs,
        resent=(rng.random(days) < 0.06).tolist(),
    )


def silent_from(participant: Participant, days: int) -> int:
    """Return the day index from which a participant sends nothing; `days` for all who never fall silent."""
    return days - max(2, min(10, days // 3)) if participant.persona == "silent" else days


def _illness(participant: Participant, rng: np.random.Generator, days: int) -> list[float]:
    course = (0.6, 1.0, 0.8, 0.5, 0.25)
    level = [0.0] * (days + 1)
    falls_ill = participant.persona == "ill" or rng.random() < days / 200
    start = int(rng.integers(days // 4, max(days // 4 + 1, days - len(course))))
    if falls_ill and participant.persona != "steady":
        for i, severity in enumerate(course):
            if start + i <= days:
                level[start + i] = severity
    return level


def _nights(
    participant: Participant, rng: np.random.Generator, first: date, days: int, illness: list[float]
) -> tuple[list[int], list[int]]:
    """Onset and wake of night 0..days; weekend mornings come later, illness sleeps longer."""
    weekday = (first.weekday() + np.arange(days + 1)) % 7
    free = (weekday == SATURDAY) | (weekday == SUNDAY)
    onset = participant.bed_min + free * participant.weekend_shift_min + rng.normal(0, 22, days + 1)
    length = participant.sleep_need_min + free * 35 - ~free * 15 + 60 * np.array(illness)
    onset = np.clip(onset, -180, 230).astype(int)
    length = np.clip(length + rng.normal(0, 30, days + 1), 200, 640).astype(int)
    return onset.tolist(), (onset + length).tolist()


def _offsets(participant: Participant, rng: np.random.Generator, days: int) -> list[int]:
    offsets = [JST_S] * (days + 1)
    if participant.persona == "traveller":
        leave = max(1, days // 3)
        back = min(days - 1, leave + int(rng.integers(2, 6)))
        offsets[leave:back] = [_pick(rng, OFFSETS_ABROAD_S)] * (back - leave)
    return offsets


def _wear(participant: Participant, rng: np.random.Generator, days: int) -> list[Wear]:
    unworn = {"steady": 0.0, "patchy": 0.3}.get(participant.persona, 0.03)
    drawn, quiet = rng.random(days), silent_from(participant, days)
    states: list[Wear] = ["worn" if x >= unworn else "idle" if x < unworn / 2 else "absent" for x in drawn]
    return states[:quiet] + ["absent"] * (days - quiet)


def _exercise(participant: Participant, rng: np.random.Generator, illness: list[float], days: int) -> list[int]:
    minutes = np.clip(rng.normal(45, 15, days), 15, 110).astype(int)
    does = rng.random(days) < participant.exercise_chance
    return [int(m) if d and not ill else 0 for m, d, ill in zip(minutes, does, illness, strict=False)]


def _syncs(participant: Participant, rng: np.random.Generator, days: int) -> list[Sync]:
    """When the device syncs, in order; always on the day after the last, or on the day of falling silent."""
    last = silent_from(participant, days)
    chance = {"steady": 1.0, "patchy": 0.55, "late_syncer": 0.8}.get(participant.persona, 0.93)
    gap = max(1, min(13, days - 2)) if participant.persona == "late_syncer" else 0
    gap_start = (days - gap) // 2
    drawn, at, part = rng.random(last + 1), rng.random((last + 1, 2)), rng.random((last + 1, 2))
    syncs = []
    for day in range(last + 1):
        if (gap_start <= day < gap_start + gap or drawn[day] > chance) and day != last:
            continue
        morning = at[day, 0] < 0.45 or day == last
        if morning:
            syncs.append(Sync(day, 390 + int(at[day, 1] * 240), bool(part[day, 0] < 0.3)))
        if not morning or at[day, 0] < 0.1:
            syncs.append(Sync(day, 1080 + int(at[day, 1] * 250), bool(part[day, 1] < 0.3)))
    return syncs
