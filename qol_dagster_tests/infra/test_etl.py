"""The weekly job, the catalogue, and what a query may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import infra.app
from infra.etl import EMULATED, NOT_BUNDLED
from qol_dagster.metrics.dictionary import TABLES, Metric
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.metrics.tables import LAYOUTS
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster_tests.support.templates import ACCOUNT, LAKE, NEEDED, Resource, System


def job(system: System) -> Resource:
    return system.one("AWS::Glue::Job", Name="qol-weekly-etl")


def table(system: System, name: str) -> Resource:
    (found,) = (one["TableInput"] for one in system.all("AWS::Glue::Table") if one["TableInput"]["Name"] == name)
    return dict(found)


def test_the_job_is_glue_5_1_for_an_hour_at_most_and_dagster_makes_the_second_attempt(system: System) -> None:
    found = job(system)
    assert (found["Command"]["Name"], found["GlueVersion"]) == ("glueetl", "5.1")
    assert (found["Timeout"], found["MaxRetries"]) == (60, 0)
    assert found["SecurityConfiguration"] == system.all("AWS::Glue::SecurityConfiguration")[0]["Name"]


def test_as_many_workers_compute_as_the_settings_say(system: System, tmp_path: Path) -> None:
    assert job(system)["NumberOfWorkers"] == 2
    infra.app.build({**NEEDED, "glue_workers": "10"}, tmp_path).synth()
    assert job(System.read(tmp_path))["NumberOfWorkers"] == 10


def test_the_job_runs_the_bundle(system: System) -> None:
    place = f"s3://cdk-hnb659fds-assets-{ACCOUNT}-ap-northeast-1/"
    files = json.loads((system.folder / "QolEtl.assets.json").read_text())["files"]
    sources = {key: (system.folder / one["source"]["path"]).read_bytes() for key, one in files.items()}
    (script,) = (key for key, content in sources.items() if content == b"print('the job')\n")
    (archive,) = (key for key, content in sources.items() if content == b"an archive")
    assert job(system)["Command"]["ScriptLocation"] == f"{place}{script}.py"
    assert job(system)["DefaultArguments"]["--extra-py-files"] == f"{place}{archive}.zip"


def test_nothing_is_installed_when_the_job_starts(system: System) -> None:
    assert not [name for name in job(system)["DefaultArguments"] if "modules" in name]


def test_a_bundle_of_which_half_is_missing_is_none(tmp_path: Path) -> None:
    (tmp_path / "qol-weekly-etl.py").write_text("print('the job')\n")
    infra.app.build({**NEEDED, "glue_bundle": str(tmp_path)}, tmp_path / "out").synth()
    script = job(System.read(tmp_path / "out"))["Command"]["ScriptLocation"].rpartition("/")[2]
    assert (tmp_path / "out" / f"asset.{script}").read_text() == NOT_BUNDLED.read_text()


def test_the_job_is_told_of_the_lake_the_id_map_and_the_key_of_tables(system: System) -> None:
    told = job(system)["DefaultArguments"]
    assert told["--lake"] == f"s3://{LAKE}"
    assert told["--id-map-table"] == "user_id_map"
    assert told["--start-date"] == "2026-04-06"
    assert told["--processed-kms-key"] == system.key("rest")


def test_without_a_bundle_the_job_fails_and_says_what_to_do(tmp_path: Path) -> None:
    infra.app.build({**NEEDED, "glue_bundle": str(tmp_path / "nothing")}, tmp_path / "out").synth()
    system = System.read(tmp_path / "out")
    script = job(system)["Command"]["ScriptLocation"].rpartition("/")[2]
    assert (tmp_path / "out" / f"asset.{script}").read_text() == NOT_BUNDLED.read_text()
    done = subprocess.run([sys.executable, str(NOT_BUNDLED)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "make glue-bundle" in done.stderr


def test_what_the_job_writes_logs_and_remembers_is_encrypted(system: System) -> None:
    (found,) = system.all("AWS::Glue::SecurityConfiguration")
    key = system.key("rest")
    encrypted = found["EncryptionConfiguration"]
    assert encrypted["S3Encryptions"] == [{"S3EncryptionMode": "SSE-KMS", "KmsKeyArn": key}]
    assert encrypted["CloudWatchEncryption"] == {"CloudWatchEncryptionMode": "SSE-KMS", "KmsKeyArn": key}
    assert encrypted["JobBookmarksEncryption"] == {"JobBookmarksEncryptionMode": "CSE-KMS", "KmsKeyArn": key}


DESCRIBED: dict[str, tuple[Metric, ...]] = {
    **{LAYOUTS[name].name + profile.suffix: TABLES[name] for name in LAYOUTS for profile in PROFILES.values()},
    **SURVEY_TABLES,
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_columns_of_a_table_are_those_of_the_dictionary(system: System, name: str) -> None:
    found, described = table(system, name), DESCRIBED[name]
    columns = [*found["StorageDescriptor"]["Columns"], *found["PartitionKeys"]]
    assert {one["Name"]: one["Comment"] for one in columns} == {metric.name: metric.comment for metric in described}
    assert len(columns) == len(described)
    order = [metric.name for metric in described if metric.name != "date"]
    assert [one["Name"] for one in found["StorageDescriptor"]["Columns"]] == order
    assert all(len(one["Comment"]) <= 255 for one in columns)


def test_types_are_those_that_athena_reads_out_of_the_parquet(system: System) -> None:
    found = table(system, "weekly_metrics")
    types = {one["Name"]: one["Type"] for one in found["StorageDescriptor"]["Columns"]}
    known = {"string": "string", "int64": "bigint", "float64": "double", "bool": "boolean", "timestamp": "timestamp"}
    for metric in TABLES["weekly"]:
        if metric.type in known and metric.name != "date":
            assert types[metric.name] == known[metric.type], metric.name
    assert found["PartitionKeys"][0]["Type"] == "string"


@pytest.mark.parametrize(
    ("name", "days"),
    [("weekly_metrics", "7"), ("daily_metrics", "1"), ("participant_status", "7"), ("whoqol_scores", "1")],
)
def test_partitions_are_counted_and_never_listed(system: System, name: str, days: str) -> None:
    told = table(system, name)["Parameters"]
    assert told["projection.enabled"] == "true"
    assert told["projection.date.type"] == "date"
    assert told["projection.date.range"] == "2026-04-06,NOW+9HOURS"
    assert (told["projection.date.interval"], told["projection.date.interval.unit"]) == (days, "DAYS")
    assert told["storage.location.template"].endswith("/date=${date}/")


def test_waves_that_are_due_later_are_shown_too_and_questionnaires_lie_where_they_are_written(system: System) -> None:
    told = table(system, "survey_due")["Parameters"]
    assert told["projection.date.range"] == "2026-04-06,NOW+5YEARS"
    assert table(system, "survey_due")["StorageDescriptor"]["Location"] == f"s3://{LAKE}/processed/survey_due/"


def test_queries_go_where_the_workgroup_says_encrypted_and_cost_no_more_than_it_allows(system: System) -> None:
    found = system.one("AWS::Athena::WorkGroup", Name="qol")["WorkGroupConfiguration"]
    assert found["EnforceWorkGroupConfiguration"] is True
    assert found["BytesScannedCutoffPerQuery"] == 10 * 1024**3
    result = found["ResultConfiguration"]
    assert result["OutputLocation"] == f"s3://{LAKE}/athena/"
    assert result["EncryptionConfiguration"] == {"EncryptionOption": "SSE_KMS", "KmsKey": system.key("rest")}


def test_for_an_emulated_aws_the_job_s_start_its_encryption_and_some_alarms_differ_and_nothing_else(
    emulated: System, tmp_path: Path, bundle: Path
) -> None:
    infra.app.build({**NEEDED, "glue_bundle": str(bundle)}, tmp_path).synth()
    real = System.read(tmp_path)
    differ = [name for name in real.templates if real.templates[name] != emulated.templates[name]]
    assert differ == ["QolEtl", "QolOps"]
    alarms, fewer = (one.templates["QolOps"]["Resources"] for one in (real, emulated))
    assert {alarms[name]["Type"] for name in alarms.keys() - fewer.keys()} == {"AWS::CloudWatch::Alarm"}
    assert all(alarms[name] == one for name, one in fewer.items())
    here, there = (one.templates["QolEtl"]["Resources"] for one in (real, emulated))
    assert {here[name]["Type"] for name in here.keys() - there.keys()} == {"AWS::Glue::SecurityConfiguration"}
    different = {name: one for name, one in there.items() if one != here[name]}
    (name,) = different
    assert (here[name]["Type"], job(emulated)["Command"]["Name"]) == ("AWS::Glue::Job", "pythonshell")
    properties = here[name]["Properties"]
    script, arguments = properties["Command"]["ScriptLocation"], properties["DefaultArguments"]
    stand_in = different[name]["Properties"]["Command"]["ScriptLocation"]
    key = job(emulated)["Command"]["ScriptLocation"].rpartition("/")[2]
    assert (emulated.folder / f"asset.{key}").read_text() == EMULATED.read_text()
    properties |= {
        "Command": {**properties["Command"], "Name": "pythonshell", "ScriptLocation": stand_in},
        "DefaultArguments": {**arguments, "--emulated-script": script},
        "Timeout": 3600,
    }
    del properties["SecurityConfiguration"]
    assert different[name]["Properties"] == properties
