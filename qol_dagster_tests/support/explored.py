"""A small deployment to explore, and its pages over HTTP.

Three participants and two weeks. Ada wears the watch every day, Ben on three days of the second week; Cem's consent was
withdrawn. Steps of Ada are 1,000 on the first Monday, and 500 more each day.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from qol_dagster.explorer.app import Explorer, ExplorerServer
from qol_dagster.explorer.views import Past
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, local_s, record, worn, write_raw
from qol_ingest.shared.languages import Language

ADA, BEN, CEM = (
    "a1b2c3d4e5f60718293a4b5c6d7e8f90",
    "ffeeddccbbaa99887766554433221100",
    "0123456789abcdef0123456789abcdef",
)
FIRST_MONDAY = MONDAY - timedelta(weeks=1)
WEDNESDAY = MONDAY + timedelta(days=2)
"""Of the second week: Ada's day with records of every kind."""


def explored_home(home: Path) -> Settings:
    """Fill a QOL_HOME, run its two weeks, and return its settings."""
    settings = Settings(home=home)
    lake = settings.lake_dir
    lake.mkdir(parents=True)
    days = [*dates_of(FIRST_MONDAY), *dates_of(MONDAY)]
    for number, day in enumerate(days):
        lines = [record("dailies", ADA, day, steps=1000 + 500 * number, timeOffsetHeartRateSamples=worn(11))]
        if number >= 11:
            lines.append(record("dailies", BEN, day, steps=9000, timeOffsetHeartRateSamples=worn(12, bpm=70)))
        lines.append(record("dailies", CEM, day, steps=7777, timeOffsetHeartRateSamples=worn(12)))
        write_raw(lake, day, lines)
    _fill_wednesday(lake)
    people = IdMap(settings.id_map_path)
    for user, participant in ((ADA, "P0001"), (BEN, "P0002"), (CEM, "P0003")):
        people.add(user, participant)
    people.revoke("P0003")
    platform = open_platform(settings)
    with platform.engine("duckdb") as engine:
        run_etl(engine, platform.lake(), [FIRST_MONDAY, MONDAY], people.identities(), since=FIRST_MONDAY)
    return settings


def _fill_wednesday(lake: Path) -> None:
    night = {"light": [{"startTimeInSeconds": local_s(WEDNESDAY, -30), "endTimeInSeconds": local_s(WEDNESDAY, 390)}]}
    stress = {"timeOffsetStressLevelValues": {"0": 20, "180": -1, "360": 40}, "timeOffsetBodyBatteryValues": {"0": 55}}
    start = local_s(WEDNESDAY, -30)
    lines = [
        record("dailies", ADA, WEDNESDAY, steps=12, durationInSeconds=3600, summaryId="older"),
        record("sleeps", ADA, WEDNESDAY, startTimeInSeconds=start, durationInSeconds=25_200, sleepLevelsMap=night),
        record("stressDetails", ADA, WEDNESDAY, **stress),
        record("bodyComps", ADA, WEDNESDAY, weightInGrams=60_000),
    ]
    write_raw(lake, WEDNESDAY, lines, "more")


@contextmanager
def explorer(settings: Settings, language: Language = "en", past: Past | None = None) -> Iterator[str]:
    """Serve the pages on a free port; yield their address, without a slash at its end."""
    server = ExplorerServer(Explorer(open_platform(settings), language, past))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.url.rstrip("/")
    finally:
        server.stop()
        thread.join()
