"""Who takes part, and how they live through the simulated window.

Belongs here: traits of a person (`Participant`) and what befalls them day by day (`Life`): sleep times, wear,
illness, travel, exercise, when their device syncs. No signal and no JSON is made here.

Everything is a function of (seed, participant, window), so any day can be made without the days before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import numpy as np

from garmin_sim.population import Traits, draw_traits

if TYPE_CHECKING:
    from datetime import date

Persona = Literal[
    "steady",  # wears it always, syncs every day
    "traveller",  # a trip to another UTC offset and back
    "day_only",  # never wears it at night
    "late_syncer",  # one gap of up to two weeks, then everything at once
    "silent",  # sends nothing any more, some time before the end
    "ill",  # some days of illness
    "new_device",  # changes device half way
    "triathlete",  # exercises most days, multi-sport on Sundays
    "owl",  # late to bed, later at weekends
    "patchy",  # often not worn, for whole days and nights
    "shift_worker",  # two night duties in six days, asleep by day after them
    "split_sleeper",  # two sleeps a night, awake for one to three hours between
    "insomniac",  # awake for a third of the night
    "once_a_minute",  # a device that samples and reports each minute
    "abroad",  # lives where clocks are changed: Berlin
    "two_accounts",  # begins a second Garmin account half way; for two days both send
    "leaver",  # withdraws half way, at Garmin or by permission
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
"""The usual ones, which come round in turn."""
RARE: dict[Persona, float] = {
    "shift_worker": 0.03,
    "split_sleeper": 0.02,
    "insomniac": 0.04,
    "once_a_minute": 0.005,  # some 1,500 records a day each
    "abroad": 0.02,
    "two_accounts": 0.02,
    "leaver": 0.02,
}
"""Those for whom definitions break, and how likely each is among all but the first `USUAL` participants."""
USUAL = 2 * len(PERSONAS)
ALL_PERSONAS: tuple[Persona, ...] = (*PERSONAS, *RARE)
Wear = Literal["worn", "idle", "absent"]
"""worn: data; idle: the device reports an empty day; absent: nothing at all."""
Sport = Literal["RUNNING", "CYCLING", "LAP_SWIMMING", "STRENGTH_TRAINING", "WALKING"]

JST_S = 32_400
OFFSETS_ABROAD_S = (25_200, 28_800, 19_800, 43_200)  # Bangkok, Singapore, Delhi, Auckland
SPORTS: tuple[Sport, ...] = ("RUNNING", "CYCLING", "LAP_SWIMMING", "STRENGTH_TRAINING", "WALKING")
DEVICES = ("Forerunner 265", "vivosmart 5", "Venu 3", "Lily 2", "fenix 7", "Instinct 2")
SATURDAY, SUNDAY = 5, 6

ZONE_ABROAD = ZoneInfo("Europe/Berlin")
DUTY_DAYS, DUTIES = 6, 2  # of so many days so many are night duties
BOTH_DAYS = 2  # of two accounts
DAY_SLEEP_MIN = 520  # when a night duty's sleep begins, from midnight

_TRAITS, _LIFE, _SYNC, _PERSONA = 1, 2, 3, 4  # salts, so that one kind of draws never shifts another
_T = TypeVar("_T")


@dataclass(frozen=True)
class Participant:
    """Who a person is; `traits` are the numbers."""

    index: int
    user_id: str
    second_user_id: str  # of a second Garmin account; empty for all who have one
    persona: Persona
    traits: Traits
    stride_m: float
    bed_min: float  # from midnight; before midnight is negative
    weekend_shift_min: float
    sport: Sport
    wake_stress: float
    device: str
    next_device: str
    quiet: float  # 0 to 1: how early someone falls silent
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

    Night d ends on day d: `onset_min` and `wake_min` count from the local midnight that begins day d; `gap_min` is how
    long someone is awake between two sleeps of the night, 0 if there is one.
    """

    participant: Participant
    first: date
    days: int
    onset_min: list[int]
    wake_min: list[int]
    gap_min: list[int]
    offset_s: list[int]
    illness: list[float]  # 0 well to 1
    wear: list[Wear]
    night_worn: list[bool]
    exercise_min: list[int]  # 0 none
    device_change: int  # day index, or -1
    syncs: list[Sync]
    resent: list[bool]

    @property
    def is_abroad(self) -> bool:
        """Whether home has a clock of its own, which is changed in spring and autumn."""
        return self.participant.persona == "abroad"

    def shift_min(self, day: int) -> int:
        """Return how far a journey moved the clock at the start of a day, minutes; positive is eastward."""
        return (self.offset_s[day] - self.offset_s[day - 1]) // 60 if day and not self.is_abroad else 0

    def clock_s(self, day: int) -> int:
        """Return the UTC offset in which the minute of a sync counts: that of home."""
        return self.offset_s[day] if self.is_abroad else JST_S

    def day_min(self, day: int) -> int:
        """Return how long a day is: 1,440 minutes, an hour less or more where the clock is changed."""
        return 1440 - (self.offset_s[day + 1] - self.offset_s[day]) // 60 if self.is_abroad else 1440

    def sleeps(self, day: int) -> list[tuple[int, int]]:
        """Return onset and wake of the sleeps of night `day`: one, or two with the gap between."""
        onset, wake, gap = self.onset_min[day], self.wake_min[day], self.gap_min[day]
        first = onset + (wake - onset - gap) * 9 // 20
        return [(onset, first), (first + gap, wake)] if gap else [(onset, wake)]

    def accounts(self, day: int) -> tuple[str, ...]:
        """Return the Garmin accounts that send a day: of those with two, the first, for two days both, the second."""
        who = self.participant
        if not who.second_user_id:
            return (who.user_id,)
        since = day - half_way(self.days)
        both = (who.user_id, who.second_user_id)
        return both[:1] if since < 0 else both if since < BOTH_DAYS else both[1:]

    def weekday(self, day: int) -> int:
        """Monday is 0."""
        return (self.first.weekday() + day) % 7


def user_id(seed: int, index: int) -> str:
    """Return a Garmin user id: 32 hexadecimal digits."""
    return hashlib.sha256(f"garmin user {seed} {index}".encode()).hexdigest()[:32]


def second_user_id(seed: int, index: int) -> str:
    """Return the user id of a second account."""
    return hashlib.sha256(f"second garmin user {seed} {index}".encode()).hexdigest()[:32]


def generator(seed: int, index: int, *salt: int) -> np.random.Generator:
    """Return the random numbers of one participant and purpose."""
    return np.random.default_rng((seed, index, *salt))


def persona_of(seed: int, index: int, personas: Sequence[Persona] = ()) -> Persona:
    """Return the persona at a position: those asked for in turn; else the usual ones in turn, and few of the rare."""
    if personas:
        return personas[index % len(personas)]
    if index >= USUAL:
        drawn = generator(seed, index, _PERSONA).random()
        for persona, chance in RARE.items():
            drawn -= chance
            if drawn < 0:
                return persona
    return PERSONAS[index % len(PERSONAS)]


def make_participant(seed: int, index: int, personas: Sequence[Persona] = ()) -> Participant:
    """Return the participant at a position; the traits are drawn."""
    rng = generator(seed, index, _TRAITS)
    persona = persona_of(seed, index, personas)
    owl = persona == "owl"
    traits = draw_traits(rng, athlete=persona == "triathlete")
    if persona == "insomniac":
        traits = replace(traits, awake_share=0.3 + 0.1 * traits.awake_share, sleep_need_min=traits.sleep_need_min - 60)
    return Participant(
        index=index,
        user_id=user_id(seed, index),
        second_user_id=second_user_id(seed, index) if persona == "two_accounts" else "",
        persona=persona,
        traits=traits,
        stride_m=round(traits.height_m * 0.43, 2),
        bed_min=float(rng.normal(85 if owl else -25, 35)),
        weekend_shift_min=float(abs(rng.normal(110 if owl else 30, 22))),
        sport=_pick(rng, SPORTS),
        wake_stress=float(rng.normal(5, 2)),
        device=_pick(rng, DEVICES),
        next_device=_pick(rng, DEVICES),
        quiet=float(rng.random()),
        has_night_sensors=bool(rng.random() < 0.8),
        has_pulse_ox=bool(rng.random() < 0.6),
        has_scale=bool(rng.random() < 0.3),
        has_cuff=bool(rng.random() < 0.25),
        naps=bool(rng.random() < 0.3),
    )


def half_way(days: int) -> int:
    """Return the day index on which what changes half way changes."""
    return days // 2


def _pick(rng: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def live(participant: Participant, seed: int, first: date, days: int) -> Life:
    """Return a participant's life over `days` days from `first`."""
    rng = generator(seed, participant.index, _LIFE, first.toordinal())
    illness = _illness(participant, rng, days)
    onset, wake, gap = _nights(participant, rng, first, days, illness)
    offset = _clock_changes(first, days) if participant.persona == "abroad" else _offsets(participant, rng, days)
    wear = _wear(participant, rng, days)
    syncs = _syncs(participant, generator(seed, participant.index, _SYNC, first.toordinal()), days)
    # On the night of an eastward flight nothing is worn: those hours were lived the day before.
    abroad = participant.persona == "abroad"
    flown = [day > 0 and offset[day] > offset[day - 1] and not abroad for day in range(days)]
    tired = rng.random(days) < (0.35 if participant.persona == "patchy" else 0.03)
    steady, never = participant.persona == "steady", participant.persona == "day_only"
    return Life(
        participant=participant,
        first=first,
        days=days,
        onset_min=onset,
        wake_min=wake,
        gap_min=gap,
        offset_s=offset,
        illness=illness,
        wear=wear,
        night_worn=[not never and not flown[d] and (steady or not tired[d]) for d in range(days)] + [not never],
        exercise_min=_exercise(participant, rng, illness, days),
        device_change=half_way(days) if participant.persona == "new_device" else -1,
        syncs=syncs,
        resent=(rng.random(days) < 0.06).tolist(),
    )


def silent_from(participant: Participant, days: int) -> int:
    """Return the day index from which a participant sends nothing; `days` for all who never fall silent."""
    if participant.persona == "leaver":
        return max(1, half_way(days))
    if participant.persona != "silent":
        return days
    longest = max(2, days // 3)
    shortest = min(longest, 4)
    return days - shortest - int(participant.quiet * (longest - shortest + 1))


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
) -> tuple[list[int], list[int], list[int]]:
    """Onset, wake and gap of night 0..days; weekend mornings come later, illness sleeps longer."""
    traits = participant.traits
    weekday = (first.weekday() + np.arange(days + 1)) % 7
    free = (weekday == SATURDAY) | (weekday == SUNDAY)
    onset = participant.bed_min + free * participant.weekend_shift_min + rng.normal(0, traits.irregular_min, days + 1)
    length = traits.sleep_need_min / (1 - 0.8 * traits.awake_share) + free * 30 - ~free * 12 + 60 * np.array(illness)
    onset = np.clip(onset, -200, 240)
    length = length + rng.normal(0, 10 + 0.9 * traits.irregular_min, days + 1)
    gap = np.zeros(days + 1)
    if participant.persona == "shift_worker":
        duty = (first.toordinal() + participant.index + np.arange(days + 1)) % DUTY_DAYS < DUTIES
        onset = np.where(duty, DAY_SLEEP_MIN + rng.normal(0, 30, days + 1), onset)
        length = np.where(duty, length - 60, length)
    if participant.persona == "split_sleeper":
        gap = rng.uniform(60, 180, days + 1)
    begins, apart = onset.astype(int), gap.astype(int)
    wakes = begins + np.clip(length, 200, 640).astype(int) + apart
    return begins.tolist(), wakes.tolist(), apart.tolist()


def _clock_changes(first: date, days: int) -> list[int]:
    """Return the UTC offsets of the zone abroad at each midnight."""
    midnights = [datetime.combine(first, datetime.min.time(), UTC) + timedelta(days=day) for day in range(days + 1)]
    offsets = [midnight.replace(tzinfo=ZONE_ABROAD).utcoffset() for midnight in midnights]
    return [int(offset.total_seconds()) for offset in offsets if offset is not None]


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
    does = rng.random(days) < participant.traits.exercise_chance
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
