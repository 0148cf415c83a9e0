"""The job's own parts on AWS: what they write and read through the platform, and what is told of a failure."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.definitions import build_defs
from qol_dagster.defs.alerts import wait_until_sent
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster_tests.support.cloud import Deployment
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_dagster_tests.support.tables import rows
from qol_ingest.shared import aws

pytestmark = pytest.mark.aws

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"


def verify(deployed: Deployment, suffix: str = "") -> Any:
    """Materialise the asset that holds the catalogue to what was written."""
    job = build_defs(deployed.settings).resolve_job_def(f"weekly_metrics{suffix}_job")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            partition_key=MONDAY.isoformat(),
            asset_selection=[dg.AssetKey(f"weekly_metrics{suffix}_table")],
            instance=instance,
            raise_on_error=False,
        )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_table_asset_sees_through_athena_what_was_written_to_the_bucket(deployed: Deployment, profile: Any) -> None:
    lake = open_platform(deployed.settings).lake(profile)
    lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}, {"participant_id": "P2"}), {})
    done = verify(deployed, profile.suffix)
    assert done.success
    (made,) = done.asset_materializations_for_node(f"weekly_metrics{profile.suffix}_table")
    assert made.metadata["dagster/partition_row_count"].value == 2
    assert made.metadata["dagster/uri"].value == f"s3://{deployed.settings.bucket}/processed{profile.suffix}/weekly"


def test_a_table_that_shows_other_rows_than_were_written_fails_and_is_told_of_once(deployed: Deployment) -> None:
    lake = open_platform(deployed.settings).lake()
    key = lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}), {})
    # Athena reads whatever lies there; the job counts Parquet files only.
    lake.store.put(key.removesuffix(".parquet"), bytes(lake.store.get(key).bytes()))
    assert not verify(deployed).success
    wait_until_sent()
    ((subject, body),) = deployed.told()
    assert subject == "[qol] weekly_metrics_job failed for 2026-11-16"
    assert "shows 2 rows for 2026-11-16, but 1 were written to s3://" in body


def test_on_aws_a_week_is_computed_by_the_glue_job_and_a_run_of_it_that_says_nothing_is_a_failure(
    deployed: Deployment,
) -> None:
    platform = open_platform(deployed.settings)
    AwsIdMap(deployed.settings.id_map_table).add(USER)
    platform.lake().write_raw(MONDAY, "a", json.dumps(record("dailies", USER, MONDAY)).encode())
    done = materialize_weeks(deployed.settings, [MONDAY])
    assert not done.success
    runs = aws.client("glue").get_job_runs(JobName=deployed.settings.glue_job)["JobRuns"]
    assert [(one["JobRunState"], one["Arguments"]["--weeks"]) for one in runs] == [("SUCCEEDED", str(MONDAY))] * 2
    assert "ended well but said nothing of what it did" in done.message
    wait_until_sent()
    ((_, body),) = deployed.told()
    assert "ended well but said nothing of what it did" in body
    with platform.lake().lock():
        pass
