"""The types of raw samples that can be asked for: their unit, and which field of which record holds them.

Belongs here: facts about samples. Their expressions are `samples.py`'s. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

SampleType = Literal[
    "heart_rate",
    "stress",
    "body_battery",
    "respiration",
    "spo2",
    "steps",
    "sleep_stages",
    "sleep_respiration",
    "sleep_spo2",
]


@dataclass(frozen=True)
class SampleKind:
    """What a type of samples is. `above_0`: a value of 0 is no data either; one below 0 never is."""

    unit: str
    summary_type: str
    field: str
    above_0: bool = True


SAMPLE_TYPES: dict[SampleType, SampleKind] = {
    "heart_rate": SampleKind("bpm", "dailies", "heart_rate"),
    "stress": SampleKind("1-100", "stressDetails", "stress", above_0=False),
    "body_battery": SampleKind("points", "stressDetails", "body_battery", above_0=False),
    "respiration": SampleKind("1/min", "allDayRespiration", "respiration"),
    "spo2": SampleKind("%", "pulseox", "spo2"),
    "steps": SampleKind("n", "epochs", "steps", above_0=False),
    "sleep_stages": SampleKind("", "sleeps", "sleep_levels"),
    "sleep_respiration": SampleKind("1/min", "sleeps", "sleep_respiration"),
    "sleep_spo2": SampleKind("%", "sleeps", "sleep_spo2"),
}

if set(SAMPLE_TYPES) != set(get_args(SampleType)):
    raise AssertionError("every type of samples has a kind and every kind a type")
