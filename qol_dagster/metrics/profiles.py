"""Named sets of thresholds. Each has tables of its own, so one never writes over another's.

Belongs here: which sets there are, and what their tables and assets are called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds
from qol_ingest.shared.keys import PROCESSED

ProfileName = Literal["default", "strict"]


@dataclass(frozen=True)
class Profile:
    """A set of thresholds; `why` says what it is for."""

    name: ProfileName
    thresholds: Thresholds
    why: str

    @property
    def suffix(self) -> str:
        """What the names of its assets and tables end in: nothing for the default."""
        return "" if self.name == "default" else f"_{self.name}"

    @property
    def folder(self) -> str:
        """The lake's folder of its tables."""
        return f"{PROCESSED}{self.suffix}"

    @property
    def step(self) -> str:
        """The step that computes its tables."""
        return f"weekly_etl{self.suffix}"

    @property
    def job(self) -> str:
        """The job that computes its weeks."""
        return f"weekly_metrics{self.suffix}_job"


PROFILES: dict[ProfileName, Profile] = {
    "default": Profile("default", DEFAULT_THRESHOLDS, "The usual convention: a day counts from 10 h of wear on."),
    "strict": Profile(
        "strict", Thresholds(valid_day_wear_min=780), "A day counts from 13 h of wear on (Herrmann 2013)."
    ),
}
DEFAULT = PROFILES["default"]

if set(PROFILES) != set(get_args(ProfileName)):
    raise AssertionError("every profile has a name and every name a profile")
