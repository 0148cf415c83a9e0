"""A deployment on the emulated AWS, with everything that the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster.settings import load_settings
from qol_dagster_tests.support.cloud import Cloud, Deployment


@pytest.fixture
def deployed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployment:
    """A deployment with everything the settings name; they stand in this process's environment too."""
    bucket, queue = cloud.bucket(), cloud.queue()
    cloud.told_of(bucket, "raw/daily/", queue)
    cloud.tables(bucket)
    topic, inbox = cloud.topic()
    for name, value in {
        "QOL_TARGET": "aws",
        "QOL_HOME": str(tmp_path / "home"),
        "QOL_BUCKET": bucket,
        "QOL_ID_MAP_TABLE": cloud.table(),
        "QOL_ENROLMENT_TABLE": cloud.table("kind", "name"),
        "QOL_ARRIVALS_QUEUE_URL": queue,
        "QOL_ALERT_TOPIC_ARN": topic,
        "QOL_ATHENA_WORKGROUP": cloud.workgroup(bucket),
        "QOL_GLUE_JOB": cloud.glue_job(),
    }.items():
        monkeypatch.setenv(name, value)
    return Deployment(load_settings(), inbox)
