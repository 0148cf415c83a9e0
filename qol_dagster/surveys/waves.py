"""When a form is due: a baseline after so many worn days, then every so many weeks, each with a window.

Belongs here: pure functions of dates in Japan. A wave is a number, and 0 is the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Literal

from qol_dagster.errors import QolInputError

DueState = Literal["upcoming", "open", "answered", "answered_outside", "missed"]


class PlanError(QolInputError):
    """A plan of waves that cannot be."""


@dataclass(frozen=True)
class WavePlan:
    """The baseline is due on the date after the `wear_days`th worn date; the others follow every `every_weeks`.

    A form may be answered from `window_days` before its due date until as many after it. Raises PlanError if two
    windows overlap, because a form would then belong to both.
    """

    wear_days: int = 14
    every_weeks: int = 12
    waves: int = 5
    window_days: int = 7

    def __post_init__(self) -> None:
        """Raise PlanError."""
        if min(self.wear_days, self.every_weeks, self.waves) < 1 or self.window_days < 0:
            raise PlanError(
                "a plan of waves needs at least one worn day, one week and one wave, and a window of 0 days"
            )
        if 2 * self.window_days >= 7 * self.every_weeks:
            raise PlanError(
                f"windows of {self.window_days} days around waves every {self.every_weeks} weeks overlap; "
                "make the windows shorter or the waves rarer"
            )

    def __str__(self) -> str:
        """Return it as `parse_plan` reads it, without spaces."""
        return ",".join(f"{one.name}={getattr(self, one.name)}" for one in fields(self))


DEFAULT_PLAN = WavePlan()


def parse_plan(text: str) -> WavePlan:
    """Return the plan of a text like `every_weeks=8, window_days=5`; what it does not name is as by default.

    Raises PlanError.
    """
    names = [one.name for one in fields(WavePlan)]
    found: dict[str, int] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = (one.strip() for one in part.partition("="))
        if name not in names:
            raise PlanError(f"there is no {name!r}, but {', '.join(names)}")
        if not (value.isascii() and value.isdigit() and len(value) <= 4):
            raise PlanError(f"{name} must have a number")
        found[name] = int(value)
    return replace(DEFAULT_PLAN, **found)


def change_plan(plan: WavePlan, **values: int | None) -> WavePlan:
    """Return a plan with other values by name; None changes nothing. Raises PlanError."""
    return replace(plan, **{name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True)
class DueWave:
    """One wave of a participant: when it may be answered, first and last date inclusive, and when it is due."""

    wave: int
    opens_on: date
    due_on: date
    closes_on: date

    def state(self, answered_on: date | None, today: date) -> DueState:
        """Return how the wave stands on a date."""
        if answered_on is not None:
            return "answered" if self.opens_on <= answered_on <= self.closes_on else "answered_outside"
        if today < self.opens_on:
            return "upcoming"
        return "open" if today <= self.closes_on else "missed"


def due_waves(worn_on: Iterable[date], plan: WavePlan = DEFAULT_PLAN) -> tuple[DueWave, ...]:
    """Return all waves of a participant who wore the device on these dates; none before enough were worn.

    Later waves count from the baseline's due date, whenever it was answered, so that a late answer moves none.
    The baseline does not open before its due date: its 14 days would not be whole.
    """
    worn = sorted(set(worn_on))
    if len(worn) < plan.wear_days:
        return ()
    first = worn[plan.wear_days - 1] + timedelta(days=1)
    return tuple(_due(wave, first, plan) for wave in range(plan.waves))


def _due(wave: int, first: date, plan: WavePlan) -> DueWave:
    due, window = first + timedelta(weeks=wave * plan.every_weeks), timedelta(days=plan.window_days)
    return DueWave(wave, due - window if wave else due, due, due + window)
