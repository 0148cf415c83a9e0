"""The rules of cdk-nag and cfn-lint, and every departure from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import App
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks
from cfnlint.api import lint_file
from cfnlint.config import ManualArgs

import infra.app
from qol_dagster_tests.support.templates import NEEDED, System

STACKS = ("QolData", "QolIngest", "QolEtl", "QolOps", "QolHosting")
WRITTEN_BY_CDK = ["W3005"]
"""CDK lets a Lambda wait for its role in words too, where the reference says so already."""

DEPARTURES = {
    ("QolData", "SMG4"): 4,
    ("QolIngest", "APIG4"): 8,
    ("QolIngest", "L1"): 5,
    ("QolOps", "L1"): 1,
    ("QolHosting", "EC23"): 1,
    ("QolHosting", "ECS2"): 2,
    ("QolHosting", "RDS3"): 1,
    ("QolHosting", "SMG4"): 1,
}
"""Rules that are departed from, apart from patterns of resources, by how many resources."""


def departures(system: System) -> Iterator[tuple[str, str, str, str]]:
    """(stack, resource, rule, reason) of all departures, as the templates have them for an auditor."""
    for stack, template in system.templates.items():
        for name, resource in template["Resources"].items():
            for one in resource.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", ()):
                if found := re.search(r"AwsSolutions-(.*)", one["id"]):
                    yield stack, name, found[1], one["reason"]


def test_cdk_nag_finds_nothing_that_is_not_explained(app: App) -> None:
    report = AwsSolutionsChecks().validate_scope(app)
    assert [(one.rule_name, [at.construct_path for at in one.violating_resources]) for one in report.violations] == []


def test_a_finding_stops_the_synthesis(tmp_path: Path) -> None:
    app = infra.app.build(NEEDED, tmp_path)
    s3.Bucket(app.node.find_child("QolData"), "Open")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"(?s)ValidationFailed.*AwsSolutions-S10"):
        app.synth()


def test_each_departure_is_one_of_these_and_has_a_reason(system: System) -> None:
    counted: dict[tuple[str, str], set[str]] = {}
    for stack, resource, rule, reason in departures(system):
        assert len(reason) >= 20, (stack, resource, rule)
        if not rule.startswith("IAM5"):
            kind = system.templates[stack]["Resources"][resource]["Type"]
            if CONCERNS[rule] == kind:
                counted.setdefault((stack, rule), set()).add(resource)
    assert {found: len(resources) for found, resources in counted.items()} == DEPARTURES


CONCERNS = {
    "SMG4": "AWS::SecretsManager::Secret",
    "APIG4": "AWS::ApiGatewayV2::Route",
    "L1": "AWS::Lambda::Function",
    "EC23": "AWS::EC2::SecurityGroup",
    "ECS2": "AWS::ECS::TaskDefinition",
    "RDS3": "AWS::RDS::DBInstance",
}
"""A reason given to a construct stands at all of its resources; this is the one each rule is about."""


def test_every_pattern_of_resources_is_explained_one_by_one_at_its_role(system: System) -> None:
    found = [(stack, resource, rule) for stack, resource, rule, _ in departures(system) if rule.startswith("IAM5")]
    assert len(found) > 20
    for stack, resource, rule in found:
        assert system.templates[stack]["Resources"][resource]["Type"] == "AWS::IAM::Role"
        assert re.fullmatch(r"IAM5\[Resource::.+\*.*\]|IAM5\[Resource::\*\]", rule), rule


@pytest.mark.parametrize("stack", STACKS)
def test_cfn_lint_finds_nothing_in_the_template(system: System, stack: str) -> None:
    found = lint_file(
        system.folder / f"{stack}.template.json",
        config=ManualArgs(regions=["ap-northeast-1"], ignore_checks=WRITTEN_BY_CDK),
    )
    assert [(one.rule.id, one.message) for one in found] == []


def test_these_are_all_stacks(system: System) -> None:
    assert set(system.templates) == set(STACKS)
