"""Dagster on Fargate: who gets in, what runs, and whether it fits the files that lie in the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster_aws.s3 import S3ComputeLogManager
from dagster_postgres import DagsterPostgresStorage

from infra.hosting import DAEMON, WEB
from qol_dagster.defs.jobs import weekly_job
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster_tests.support.templates import ACCOUNT, Resource, System

ROOT = Path(__file__).parents[2]


def container(system: System, name: str) -> Resource:
    (found,) = system.one("AWS::ECS::TaskDefinition", Family=f"qol-dagster-{name}")["ContainerDefinitions"]
    return dict(found)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, system: System) -> dict[str, Any]:
    """dagster.yaml as Dagster reads it in the image, with the variables of the daemon's container."""
    found = container(system, "daemon")
    for one in found["Environment"]:
        monkeypatch.setenv(one["Name"], str(one["Value"]))
    for one in found["Secrets"]:
        monkeypatch.setenv(one["Name"], "a password")
    return dict(dagster_instance_config(str(ROOT / "infra"))[0])


def resolved(schema: Any, given: Any) -> dict[str, Any]:
    result = process_config(schema, given)
    assert result.success, result.errors
    return dict(result.value or {})


def test_the_dagster_yaml_of_the_image_is_one_that_dagster_takes(config: dict[str, Any]) -> None:
    assert config["run_monitoring"]["enabled"] is True
    assert config["run_coordinator"]["class"] == "WeeklyRunFirst"
    assert config["telemetry"]["enabled"] is False


def test_dagster_finds_its_database_by_what_the_containers_are_told(config: dict[str, Any], system: System) -> None:
    storage = resolved(DagsterPostgresStorage.config_type(), config["storage"]["postgres"])["postgres_db"]
    (database,) = system.all("AWS::RDS::DBInstance")
    assert str(storage["port"]) == database["Port"]
    assert (storage["db_name"], storage["username"], storage["password"]) == (
        database["DBName"],
        "dagster",
        "a password",
    )
    assert storage["params"] == {"sslmode": "require"}


def test_what_steps_print_goes_to_the_lake_s_folder_for_it(config: dict[str, Any]) -> None:
    given = config["compute_logs"]
    assert (given["module"], given["class"]) == ("dagster_aws.s3", S3ComputeLogManager.__name__)
    logs = resolved(S3ComputeLogManager.config_type(), given["config"])
    assert (logs["bucket"], logs["prefix"], logs["region"]) == (
        "qol-lake-111122223333-ap-northeast-1",
        "dagster",
        "ap-northeast-1",
    )


def test_a_run_is_over_before_people_are_told_at_noon_that_its_week_is_not_there(
    config: dict[str, Any], system: System
) -> None:
    from_five_past_nine_to_noon_s = 10_500
    (glue,) = system.all("AWS::Glue::Job")
    two_attempts_s = 2 * glue["Timeout"] * 60
    assert two_attempts_s == 2 * 3600
    assert two_attempts_s < config["run_monitoring"]["max_runtime_seconds"] < from_five_past_nine_to_noon_s


def test_no_job_has_a_tag_that_overrules_how_long_a_run_may_take() -> None:
    tags = {name for profile in PROFILES.values() for name in weekly_job(profile).run_tags}
    assert "dagster/max_retries" in tags
    assert not [name for name in tags if name.startswith("dagster/max_runtime")]


def test_web_server_and_daemon_run_the_image_of_the_settings_and_differ_in_their_command(system: System) -> None:
    for program in (WEB, DAEMON):
        found = container(system, program.name)
        assert found["Image"].endswith("/qol-dagster:0.1.0")
        assert found["Command"] == [*program.command]
    assert container(system, "web")["Environment"] == container(system, "daemon")["Environment"]


def test_dagster_and_staff_are_told_of_every_part_on_aws(system: System) -> None:
    told = {one["Name"]: one["Value"] for one in container(system, "daemon")["Environment"]}
    assert told["QOL_TARGET"] == "aws"
    assert told["QOL_BUCKET"] == "qol-lake-111122223333-ap-northeast-1"
    assert told["QOL_ARRIVALS_QUEUE_URL"].endswith("/qol-arrivals")
    assert told["QOL_ALERT_TOPIC_ARN"].endswith(":job_failure_alert")
    assert told["QOL_REPORT_TOPIC_ARN"].endswith(":weekly_report")
    assert told["QOL_ATHENA_WORKGROUP"] == system.all("AWS::Athena::WorkGroup")[0]["Name"]
    assert told["QOL_START_DATE"] == "2026-04-06"
    assert (told["QOL_ID_MAP_TABLE"], told["QOL_ENROLMENT_TABLE"]) == ("user_id_map", "qol_enrolment")
    assert told["QOL_GLUE_JOB"] == system.all("AWS::Glue::Job")[0]["Name"]
    assert told["QOL_PUBLIC_URL"] == system.output("QolIngest", "PublicUrl")
    noted = system.one("AWS::SSM::Parameter", Name="/qol/settings")["Value"]
    of_staff = dict(re.findall(r"(QOL_\w+|AWS_REGION)=(.*?)(?= QOL_\w+=|$)", noted))
    assert told.pop("QOL_BACKUP_ROLE") == f"arn:aws:iam::{ACCOUNT}:role/qol-archiver", "people assume it themselves"
    assert of_staff == {name: value for name, value in told.items() if not name.startswith("DAGSTER_")}


def test_there_are_never_two_daemons(system: System) -> None:
    daemon = system.one("AWS::ECS::Service", ServiceName="dagster-daemon")
    percent = daemon["DeploymentConfiguration"]
    assert (daemon["DesiredCount"], percent["MinimumHealthyPercent"], percent["MaximumPercent"]) == (1, 0, 100)
    web = system.one("AWS::ECS::Service", ServiceName="dagster-web")["DeploymentConfiguration"]
    assert (web["MinimumHealthyPercent"], web["MaximumPercent"]) == (100, 200)


def test_whoever_comes_to_the_load_balancer_has_to_sign_in_first(system: System) -> None:
    (listener,) = system.all("AWS::ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    first, second = sorted(listener["DefaultActions"], key=lambda one: one["Order"])
    assert (first["Type"], second["Type"]) == ("authenticate-cognito", "forward")
    assert first["AuthenticateCognitoConfig"].get("OnUnauthenticatedRequest", "authenticate") == "authenticate"


def test_the_weekly_start_gets_through_with_its_token_to_graphql_alone(system: System) -> None:
    (rule,) = system.all("AWS::ElasticLoadBalancingV2::ListenerRule")
    conditions = {one["Field"]: one for one in rule["Conditions"]}
    assert conditions.keys() == {"path-pattern", "http-request-method", "http-header"}
    assert conditions["path-pattern"]["PathPatternConfig"]["Values"] == ["/graphql"]
    assert conditions["http-request-method"]["HttpRequestMethodConfig"]["Values"] == ["POST"]
    header = conditions["http-header"]["HttpHeaderConfig"]
    assert header["HttpHeaderName"].lower() == "authorization"
    secret = next(one for one in system.all("AWS::SecretsManager::Secret") if one["Name"] == "qol/dagster-token")
    assert secret["GenerateSecretString"] == {"ExcludePunctuation": True, "PasswordLength": 48}
    (value,) = header["Values"]
    assert value.startswith("Bearer {{resolve:secretsmanager:")
    assert "secret:qol/dagster-token" in value


def test_people_are_invited_by_staff_and_have_a_second_factor(system: System) -> None:
    (pool,) = system.all("AWS::Cognito::UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
    (client,) = system.all("AWS::Cognito::UserPoolClient")
    assert client["CallbackURLs"] == ["https://dagster.example.org/oauth2/idpresponse"]


def test_the_database_is_kept_backed_up_encrypted_and_out_of_reach(system: System) -> None:
    (database,) = system.all("AWS::RDS::DBInstance")
    assert database["PubliclyAccessible"] is False
    assert (database["StorageEncrypted"], database["KmsKeyId"]) == (True, system.key("rest"))
    assert (database["DeletionProtection"], database["BackupRetentionPeriod"]) == (True, 14)
    open_to_all = [
        rule
        for group in system.all("AWS::EC2::SecurityGroup")
        for rule in group.get("SecurityGroupIngress", ())
        if rule.get("CidrIp", "").endswith("/0")
    ]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_to_all] == [(443, 443)]


def test_the_image_has_what_its_programs_read() -> None:
    recipe = (ROOT / "infra/Dockerfile").read_text()
    for name in (
        "workspace.yaml",
        "infra/dagster.yaml",
        "constraints.txt",
        "pyproject.toml",
        "qol_dagster",
        "qol_ingest",
    ):
        assert name in recipe
        assert (ROOT / name).exists()
    assert "[aws,hosting]" in recipe
    assert yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
