"""Signals of one participant's day: what a device on the wrist would have measured.

Belongs here: arrays by time of day, and the random draws behind everything in a day's records. No JSON is
made here.

All arrays count from the local midnight that begins the day: by minute (1,440), by 3 minutes (480) or by the
15-s heart-rate slot (5,760). One day costs well under a millisecond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from garmin_sim.people import SATURDAY, SUNDAY, Life, Participant, Sport, generator
from garmin_sim.population import OLD_YEARS

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
Level = Literal["deep", "light", "rem", "awake", "unmeasurable"]

MINUTES, THREES, SLOTS, QUARTERS = 1440, 480, 5760, 96
OFF_WRIST, IN_MOTION, TOO_LITTLE, RECOVERING, UNKNOWN = -1, -2, -3, -4, -5  # Garmin's stress sentinels
EFFORT: dict[Sport, float] = {
    "RUNNING": 0.72,
    "CYCLING": 0.65,
    "LAP_SWIMMING": 0.6,
    "STRENGTH_TRAINING": 0.45,
    "WALKING": 0.38,
}
"""Share of the heart-rate reserve a session uses."""
CADENCE: dict[Sport, int] = {
    "RUNNING": 158,
    "CYCLING": 0,
    "LAP_SWIMMING": 0,
    "STRENGTH_TRAINING": 12,
    "WALKING": 112,
}
"""Steps a minute in a session."""
SPEED_MPS: dict[str, float] = {"RUNNING": 2.6, "CYCLING": 6.2, "LAP_SWIMMING": 0.7}
"""Metres a second in a session without steps."""
SESSION_KCAL = 0.2  # a minute and kg at full effort, beyond rest
MODERATE_CADENCE, VIGOROUS_EFFORT = 100, 0.6
RESTING_HR_SD = 1.8  # of one person's days, bpm
STEPS_LOG_SD = 0.3  # of one person's days; a coefficient of variation of a third is usual
STRESS_LOG_SD = 0.15
AWAKE_LOG_SD = 0.35
BREATHS_NIGHT_SD = 45  # of one person's nights, hundredths a minute
OXYGEN_NIGHT_SD = 0.5
AWAKE_BREATHS, ILL_BREATHS = 180, 140
CYCLE_MIN = 105
ON_DAY = 0  # salt of a day's draws

_SETTLING = np.exp(-np.arange(10) / 3.0)
_SETTLING /= _SETTLING.sum()
_WANDER = np.ones(12) / np.sqrt(12)
_DAYTIME = np.sin((np.arange(MINUTES) / MINUTES - 0.3) * 2 * np.pi)


@dataclass(frozen=True)
class Bout:
    """Walking or a session: minutes [start, start + minutes)."""

    start: int
    minutes: int


@dataclass(frozen=True)
class Session(Bout):
    """A recorded exercise session; MULTI_SPORT when several sports follow each other."""

    sport: Sport
    multi_sport: bool


@dataclass(frozen=True)
class Night:
    """The main sleep that ends on the day; minutes from the day's midnight, so the onset may be negative.

    `levels` follow each other without gaps from onset to wake. Samples are every 3 minutes (oxygen in
    percent, breaths in hundredths a minute) and every 5 minutes (heart-rate variability, ms).
    """

    onset: int
    wake: int
    levels: list[tuple[Level, int, int]]
    oxygen: Ints
    breaths: Ints
    variability: Ints
    skin_celsius: float


@dataclass(frozen=True)
class Day:
    """One worn day of a participant."""

    life: Life
    index: int
    worn: Bools  # by minute
    heart_rate: Ints  # by slot, bpm
    heart_seen: Bools  # by slot: whether there is a sample
    resting_hr: int
    steps: Ints  # by minute
    active: Bools  # by minute
    moderate: Bools  # by minute
    vigorous: Bools  # by minute
    kcal: Ints  # by quarter of an hour, active kilocalories
    floors: Ints  # by minute
    stress: Ints  # by 3 minutes, Garmin's sentinels below 0
    battery: Ints  # by 3 minutes, Body Battery 5..100
    breaths: Ints  # by 3 minutes, hundredths a minute; 0 is no data
    bouts: list[Bout]
    session: Session | None
    nap: Bout | None
    nights: list[Night]  # the main sleep, or the two of a split sleeper; none when not worn at night
    draws: list[float]  # uniform, for choices in the records


@dataclass(frozen=True)
class _Draft:
    """The day being made, and its random numbers."""

    life: Life
    index: int
    rng: np.random.Generator

    @property
    def illness(self) -> float:
        return self.life.illness[self.index]


def make_day(life: Life, seed: int, index: int) -> Day:
    """Return the signals of day `index` of a life; the day must be one on which the device is worn."""
    who, traits = life.participant, life.participant.traits
    rng = generator(seed, who.index, ON_DAY, life.first.toordinal() + index)
    draft = _Draft(life, index, rng)
    session, nap = _session(draft), _nap(draft)
    asleep = _asleep(life, index, nap)
    worn = _worn(draft, session)
    steps, bouts = _steps(draft, asleep, session)
    steps[~worn] = 0
    effort = np.zeros(MINUTES)
    exercising = np.zeros(MINUTES, bool)
    if session:
        exercising[session.start : session.start + session.minutes] = True
        effort[exercising] = EFFORT[session.sport]
    heart = _heart_rate(draft, asleep, steps, effort)
    seen = np.repeat(worn, 4) & (rng.random(SLOTS, dtype=np.float32) > 0.015)
    if who.persona == "once_a_minute":
        seen[np.arange(SLOTS) % 4 != 3] = False
    resting = round(traits.resting_hr_bpm + 6 * life.illness[index] + rng.normal(0, RESTING_HR_SD))
    if seen.any():
        resting = max(resting, int(heart[seen].min()))
    active = worn & ((steps > 0) | exercising)
    vigorous = worn & (effort >= VIGOROUS_EFFORT)
    stress = _stress(draft, asleep, worn, steps, exercising)
    return Day(
        life=life,
        index=index,
        worn=worn,
        heart_rate=heart,
        heart_seen=seen,
        resting_hr=resting,
        steps=steps,
        active=active,
        moderate=worn & ~vigorous & ((steps >= MODERATE_CADENCE) | (effort > 0.4)),
        vigorous=vigorous,
        kcal=_kcal(who, steps, effort),
        floors=((steps > 60) & (rng.random(MINUTES) < 0.07)).astype(np.int16),
        stress=stress,
        battery=_battery(life, index, asleep, active),
        breaths=_breaths(draft, asleep, worn, exercising),
        bouts=[bout for bout in bouts if worn[bout.start : bout.start + bout.minutes].all()],
        session=session,
        nap=nap,
        nights=[_night(draft, *sleep) for sleep in life.sleeps(index)] if life.night_worn[index] else [],
        draws=rng.random(24).tolist(),
    )


def _session(draft: _Draft) -> Session | None:
    minutes, start = draft.life.exercise_min[draft.index], draft.rng.random()
    if not minutes:
        return None
    who, weekday = draft.life.participant, draft.life.weekday(draft.index)
    wake, begin = draft.life.wake_min[draft.index], int(1080 + 75 * start)
    if weekday >= SATURDAY:
        begin = max(int(540 + 120 * start), wake + 30)
    sport, multi = who.sport, False
    if who.persona == "triathlete":
        sport = ("RUNNING", "CYCLING", "LAP_SWIMMING")[weekday % 3]
        multi = weekday == SUNDAY
        minutes = max(minutes, 60) if multi else minutes
    return Session(begin, minutes, "CYCLING" if multi else sport, multi)


def _nap(draft: _Draft) -> Bout | None:
    chance, start, minutes = draft.rng.random(3)
    if not draft.life.participant.naps or chance > 0.35:
        return None
    begin = max(int(780 + 120 * start), draft.life.wake_min[draft.index] + 120)
    return Bout(begin, int(20 + 40 * minutes)) if begin < 1000 else None


def _asleep(life: Life, index: int, nap: Bout | None) -> Bools:
    asleep = np.zeros(MINUTES, bool)
    for onset, wake in life.sleeps(index):
        asleep[max(0, onset) : max(0, wake)] = True
    if life.onset_min[index + 1] < 0:
        asleep[MINUTES + life.onset_min[index + 1] :] = True
    if nap:
        asleep[nap.start : nap.start + nap.minutes] = True
    return asleep


def _worn(draft: _Draft, session: Session | None) -> Bools:
    """Off for the bath and charging in the evening, for some nights, sometimes for hours."""
    worn = np.ones(MINUTES, bool)
    bath, length, chance, start = draft.rng.random(4)
    begin = int(1200 + 110 * bath)
    worn[begin : begin + int(25 + 40 * length)] = False
    if chance < (0.3 if draft.life.participant.persona == "patchy" else 0.05):
        begin = int(480 + 500 * start)
        worn[begin : begin + int(120 + 240 * length)] = False
    if not draft.life.night_worn[draft.index]:
        worn[: draft.life.wake_min[draft.index] + 20] = False
    if not draft.life.night_worn[draft.index + 1]:
        worn[min(MINUTES, MINUTES - 30 + draft.life.onset_min[draft.index + 1]) :] = False
    if session:
        worn[session.start : session.start + session.minutes] = True
    worn[: max(0, draft.life.shift_min(draft.index))] = False
    worn[draft.life.day_min(draft.index) :] = False
    return worn


def _steps(draft: _Draft, asleep: Bools, session: Session | None) -> tuple[Ints, list[Bout]]:
    """Steps by minute, and the walks among them: ways to work, other walks as the mood is, pottering about, and a few
    at night."""
    traits = draft.life.participant.traits
    onset, wake = draft.life.onset_min[draft.index], draft.life.wake_min[draft.index]
    works = draft.life.weekday(draft.index) < SATURDAY and traits.age_years < OLD_YEARS
    mood = draft.rng.lognormal(0, STEPS_LOG_SD) * (1 if works else 0.85)
    wanted = traits.steps_a_day * (1 - 0.65 * draft.illness) * mood
    pace = max(60, int(traits.cadence_spm) + int(draft.rng.integers(-4, 5)))
    bouts = [Bout(wake + 50, 11), Bout(1065 + int(draft.rng.integers(60)), 11)] if works else []
    count = max(1, int((wanted - 1300 - 22 * pace * works) / (8.5 * pace)))
    starts = draft.rng.integers(wake + 20, max(wake + 60, 1250), count)
    if onset > 300:  # a night duty: half of it was walked before going to bed
        starts[::2] = draft.rng.integers(20, onset - 40, len(starts[::2]))
    bouts += [
        Bout(begin, minutes)
        for begin, minutes in zip(starts.tolist(), draft.rng.integers(4, 14, count).tolist(), strict=True)
    ]
    draws = draft.rng.random(MINUTES)
    busy = min(0.4, 0.05 + 0.2 * wanted / 7000)
    pottering = np.repeat(draft.rng.random(QUARTERS) < busy, 15) & (draws < 0.4)
    steps = np.where(pottering, (draws * 60 + 6).astype(np.int16), 0)
    walking = np.zeros(MINUTES, bool)
    for bout in bouts:
        walking[bout.start : bout.start + bout.minutes] = True
    steps = np.where(walking, pace + (draws * 12).astype(np.int16), steps)
    steps[asleep] = 0
    walks = draft.rng.poisson(traits.night_walks)
    # A night that is over at midnight has none of this date.
    for minute in draft.rng.integers(max(0, onset), wake, walks).tolist() if wake > 0 else ():
        steps[minute : minute + 2] = 8 + int(24 * draws[minute % MINUTES])
    if session:
        steps[session.start : session.start + session.minutes] = CADENCE[session.sport]
    return steps, bouts


def _kcal(who: Participant, steps: Ints, effort: Floats) -> Ints:
    kg = who.traits.weight_g / 1000
    by_minute = np.where(effort > 0, SESSION_KCAL * kg * effort, 0.036 / 65 * kg * steps)
    quarters: Floats = by_minute.reshape(QUARTERS, 15).sum(axis=1)
    return quarters.astype(np.int64)


def _heart_rate(draft: _Draft, asleep: Bools, steps: Ints, effort: Floats) -> Ints:
    traits = draft.life.participant.traits
    highest = 208 - 0.7 * traits.age_years
    resting = traits.resting_hr_bpm + 6 * draft.illness
    drive = np.maximum(steps * 0.3 * (effort == 0), effort * (highest - resting))
    drive = np.convolve(drive, _SETTLING)[:MINUTES]
    calm = np.where(asleep, 2.0, 13 + 3.5 * _DAYTIME)
    wander = np.convolve(draft.rng.standard_normal(MINUTES), _WANDER, "same") * np.where(asleep, 1.4, 3.2)
    by_minute = (resting + calm + wander + drive).astype(np.float32)
    noise = draft.rng.standard_normal(SLOTS, dtype=np.float32)
    return np.clip(np.repeat(by_minute, 4) + noise, resting - 3, highest).astype(np.uint8)


def _stress(draft: _Draft, asleep: Bools, worn: Bools, steps: Ints, exercising: Bools) -> Ints:
    who = draft.life.participant
    wander = np.convolve(draft.rng.standard_normal(THREES), _WANDER, "same")
    of_day = draft.rng.lognormal(0, STRESS_LOG_SD)
    awake_level = (who.traits.stress_level + who.wake_stress * _DAYTIME[::3]) * of_day
    # Log-normal while awake: mostly low, with spells of high stress.
    level = np.where(asleep[::3], 14 + 4.4 * wander, awake_level * np.exp(0.42 * wander)) + 14 * draft.illness
    stress = np.clip(level, 1, 100).astype(np.int16)
    draws = draft.rng.random(THREES)
    stress[draws < 0.008] = TOO_LITTLE
    stress[draws > 0.998] = UNKNOWN
    moving = (steps.reshape(THREES, 3).sum(axis=1) > 150) | exercising[::3]
    after = np.flatnonzero(exercising)
    if after.size:
        stress[after[-1] // 3 : after[-1] // 3 + 6] = RECOVERING
    stress[moving] = IN_MOTION
    stress[~worn.reshape(THREES, 3).all(axis=1)] = OFF_WRIST
    return stress


def _midnight_battery(life: Life, index: int) -> float:
    swing = 6 * np.sin(1.7 * index + life.participant.index)
    level = 30 + swing + 0.14 * max(0, -life.onset_min[index]) - 12 * life.illness[index]
    return float(np.clip(level, 8, 75))


def _battery(life: Life, index: int, asleep: Bools, active: Bools) -> Ints:
    """Charges in sleep, drains awake so that it meets the next day's midnight level."""
    start, end = _midnight_battery(life, index), _midnight_battery(life, index + 1)
    sleeping = asleep[::3]
    charge = np.where(sleeping, 0.42 * (1 - 0.3 * life.illness[index]), 0.0)
    effort = np.where(sleeping, 0.0, 1 + 2.0 * active[::3])
    drain = effort * (max(0.0, start + charge.sum() - end) / max(1.0, effort.sum()))
    return np.clip(np.round(start + np.cumsum(charge - drain)), 5, 100).astype(np.int16)


def _breaths(draft: _Draft, asleep: Bools, worn: Bools, exercising: Bools) -> Ints:
    own = draft.life.participant.traits.breaths_hundredths
    mean = np.where(asleep[::3], own, own + AWAKE_BREATHS) + ILL_BREATHS * draft.illness
    breaths = (mean + draft.rng.standard_normal(THREES) * np.where(asleep[::3], 90, 160)).astype(np.int16)
    breaths[~worn[::3] | exercising[::3]] = 0
    return np.clip(breaths, 0, 3000)


def _night(draft: _Draft, onset: int, wake: int) -> Night:
    who, ill, rng = draft.life.participant, draft.illness, draft.rng
    traits = who.traits
    threes, fives = max(1, (wake - onset) // 3), max(1, (wake - onset) // 5)
    dips = rng.random(threes) < 0.01 + 0.0006 * max(0, traits.age_years - 45)
    oxygen = rng.normal(traits.oxygen_pct + rng.normal(-1.0 * ill, OXYGEN_NIGHT_SD), 1.1, threes) - dips * 6
    mean_rmssd = traits.hrv_rmssd_ms * (1 - 0.3 * ill) * rng.lognormal(0, 0.08)
    breaths = traits.breaths_hundredths + ILL_BREATHS * ill + rng.normal(0, BREATHS_NIGHT_SD)
    return Night(
        onset=onset,
        wake=wake,
        levels=_levels(onset, wake, traits.awake_share * rng.lognormal(0, AWAKE_LOG_SD), rng),
        oxygen=np.clip(np.round(oxygen), 80, 100).astype(np.int16),
        breaths=np.clip(rng.normal(breaths, 90, threes), 600, 3000).astype(np.int16),
        variability=np.clip(mean_rmssd * rng.lognormal(0, 0.2, fives), 8, 180).astype(np.int16),
        skin_celsius=round(float(rng.normal(0.7 * ill, 0.3)), 2),
    )


def _levels(onset: int, wake: int, awake_share: float, rng: np.random.Generator) -> list[tuple[Level, int, int]]:
    """Cycles of about 90 minutes: deep sleep early, REM late; after each someone is awake, mostly not for long."""
    draws = iter(rng.random(200).tolist())
    levels: list[tuple[Level, int, int]] = []
    at, cycle = onset, 0
    while at < wake:
        unseen = next(draws) < 0.03
        plan: list[tuple[Level, float]] = [
            ("light", 14 + 16 * next(draws)),
            ("deep", 34 - 9 * cycle + 12 * next(draws)),
            ("light", 10 + 16 * next(draws)),
            ("awake", -CYCLE_MIN * awake_share * math.log(1 - next(draws)) / 2),
            ("rem", 7 + 6 * cycle + 10 * next(draws)),
            ("unmeasurable" if unseen else "awake", -CYCLE_MIN * awake_share * math.log(1 - next(draws)) / 2),
        ]
        for level, minutes in plan:
            end = min(wake, at + round(minutes))
            if end > at:
                levels.append((level, at, end))
                at = end
        cycle += 1
    return levels
