"""Ticks of a sensor as Dagster's daemon stores them, without a daemon."""

from __future__ import annotations

import time

import dagster as dg  # noqa: TC002 - as any test imports it
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickData, TickStatus
from dagster._core.scheduler.instigation import SensorInstigatorData as SensorData
from dagster._utils.error import SerializableErrorInfo


def store_ticks(instance: dg.DagsterInstance, sensor: str, ends: str) -> None:
    """Store how the ticks of a running sensor ended, oldest first: F failed, anything else was skipped."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository")
    origin = RemoteInstigatorOrigin(repository, sensor)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorData())
    instance.add_instigator_state(state)
    for number, end in enumerate(ends):
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                sensor,
                InstigatorType.SENSOR,
                TickStatus.FAILURE if end == "F" else TickStatus.SKIPPED,
                time.time() + number,
                selector_id=state.selector_id,
                error=SerializableErrorInfo("it broke", [], "Error") if end == "F" else None,
            )
        )
