"""Dagster's pages as the data engineer opens them: lineage, an asset, runs of the command, a run that failed.

Two weeks of two people. The first was computed by the command; in the second a file is where a folder belongs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from qol_dagster.cli.runs import RunOutcome, materialize_weeks
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.dagster_ui import dagster_ui
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
OpenPage = Callable[..., "Page"]
FIRST = MONDAY - timedelta(weeks=1)
USERS = {"a1b2c3d4e5f60718293a4b5c6d7e8f90": "P0001", "ffeeddccbbaa99887766554433221100": "P0002"}
GROUPS = {
    "ingest": {"garmin_raw_daily", "garmin_records", "user_id_map"},
    "metrics": {"daily_metrics", "weekly_metrics", "weekly_metrics_table"},
    "people": {"participant_status", "weekly_report"},
}
"""The assets of the weekly job, by the group that its picture shows them in."""


@dataclass(frozen=True)
class Site:
    """Dagster's address, and the two runs that its pages show."""

    url: str
    computed: RunOutcome
    failed: RunOutcome


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(home=tmp_path_factory.mktemp("dagster") / "home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("QOL_HOME", str(settings.home))
        for day in (*dates_of(FIRST), *dates_of(MONDAY)):
            write_raw(
                settings.lake_dir,
                day,
                [record("dailies", user, day, steps=4321, timeOffsetHeartRateSamples=worn(12)) for user in USERS],
            )
        IdMap(settings.id_map_path).import_rows(USERS.items())
        computed = materialize_weeks(settings, [FIRST])
        (settings.lake_dir / f"processed/weekly/date={MONDAY}").write_text("a file where a folder belongs")
        failed = materialize_weeks(settings, [MONDAY])
        with dagster_ui(settings) as url:
            yield Site(url, computed, failed)


def test_the_lineage_shows_the_assets_of_the_weekly_job_in_their_groups(site: Site, open_page: OpenPage) -> None:
    page = open_page(width=2400, height=1600)
    page.goto(f"{site.url}/asset-groups?expanded={','.join(f'global@global:{group}' for group in GROUPS)}")
    graph = page.locator("svg")
    for group, assets in {**GROUPS, "strict": set(), "surveys": set()}.items():
        for name in (group, *assets):
            graph.get_by_text(name, exact=True).first.wait_for()


def test_the_page_of_an_asset_shows_its_weeks_and_what_was_written(site: Site, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{site.url}/assets/weekly_metrics?view=partitions&partition={FIRST}")
    row = page.get_by_role("row").filter(has_text="dagster/partition_row_count")
    row.wait_for()
    assert re.search(r"\b2$", row.inner_text().strip())
    assert page.get_by_text(site.computed.run_id[:8]).first.is_visible()
    assert page.get_by_text("P0002").first.is_visible()
    body = page.inner_text("body")
    assert "Materialized (1)" in body
    assert "4,321" in body
    assert not any(user in body for user in USERS)


def test_runs_of_the_command_are_on_the_page_of_the_job(site: Site, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{site.url}/locations/qol_dagster/jobs/weekly_metrics_job/runs")
    for run, status in ((site.computed, "Success"), (site.failed, "Failure")):
        page.get_by_text(run.run_id[:8]).first.wait_for()
        assert page.get_by_text(status, exact=True).first.is_visible()


def test_a_run_that_failed_shows_the_sentence_that_the_command_printed(site: Site, open_page: OpenPage) -> None:
    assert f"date={MONDAY} is a file where a folder belongs: move it away, or remove it" in site.failed.message
    page = open_page()
    page.goto(f"{site.url}/runs/{site.failed.run_id}")
    page.get_by_text("is a file where a folder belongs: move it away").first.wait_for()
