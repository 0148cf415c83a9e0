"""The templates as tests look at them: resources by kind, with what they refer to filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCOUNT, REGION = "111122223333", "ap-northeast-1"
LAKE = f"qol-lake-{ACCOUNT}-{REGION}"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}

NEEDED = {
    "alert_mail": "one@example.org, two@example.org",
    "garmin_client_id": "the-client-id",
    "dagster_url": "http://127.0.0.1:3000",
}
"""The settings of the smallest deployment."""

Resource = dict[str, Any]


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


ARNS = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{TableName}"),
    "AWS::IAM::Role": ("iam", "role/{RoleName}"),
    "AWS::KMS::Key": ("kms", "key/{Description}"),
    "AWS::Lambda::Function": ("lambda", "function:{FunctionName}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{LogGroupName}:*"),
    "AWS::SNS::Topic": ("sns", "{TopicName}"),
    "AWS::SQS::Queue": ("sqs", "{QueueName}"),
    "AWS::SecretsManager::Secret": ("secretsmanager", "secret:{Name}-AbCdEf"),
    "AWS::StepFunctions::StateMachine": ("states", "stateMachine:{StateMachineName}"),
}
"""What the ARN of a resource is made of. A key is known by its description, for want of a name."""
REF_IS_ARN = ("AWS::SNS::Topic", "AWS::SecretsManager::Secret")


@dataclass(frozen=True)
class System:
    """All templates of one deployment, by the name of their stack."""

    folder: Path
    templates: dict[str, Resource]

    @classmethod
    def read(cls, folder: Path) -> System:
        files = sorted(folder.glob("*.template.json"))
        return cls(folder, {file.name.partition(".")[0]: json.loads(file.read_text()) for file in files})

    def all(self, kind: str) -> list[Resource]:
        """The properties of all resources of a kind, in every stack."""
        return [properties for _, one, properties in self._resources() if one == kind]

    def one(self, kind: str, **wanted: str) -> Resource:
        """The properties of the one resource of a kind that has these."""
        found = [one for one in self.all(kind) if wanted.items() <= one.items()]
        assert len(found) == 1, (kind, wanted, len(found))
        return found[0]

    def key(self, alias: str) -> str:
        """The ARN of the key with an alias."""
        return str(self.one("AWS::KMS::Alias", AliasName=f"alias/qol-{alias}")["TargetKeyId"])

    def output(self, stack: str, name: str) -> Any:
        return self._filled(self.templates[stack]["Outputs"][name]["Value"], stack)

    def _resources(self) -> Iterator[tuple[str, str, Resource]]:
        for stack, template in self.templates.items():
            for name, resource in template["Resources"].items():
                yield name, resource["Type"], self._filled(resource.get("Properties", {}), stack)

    def _filled(self, value: Any, stack: str) -> Any:
        """A value with its references replaced by what they stand for."""
        if isinstance(value, list):
            return [self._filled(one, stack) for one in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": str(name)} if len(value) == 1:
                return PSEUDO.get(name) or self._ref(name, stack)
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._arn(name, stack)
            case {"Fn::GetAtt": [name, attribute]}:
                return f"{name}.{attribute}"
            case {"Fn::Join": [between, list(parts)]}:
                return between.join(str(self._filled(part, stack)) for part in parts)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([\w:]+)\}", lambda found: PSEUDO[found[1]], text)
            case {"Fn::ImportValue": str(name)}:
                return self._imported(name)
        return {key: self._filled(one, stack) for key, one in value.items()}

    def _imported(self, name: str) -> Any:
        for stack, template in self.templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == name:
                    return self._filled(output["Value"], stack)
        raise AssertionError(f"nobody exports {name}")

    def _ref(self, name: str, stack: str) -> str:
        resource = self.templates[stack]["Resources"].get(name, {"Type": "a parameter"})
        if resource["Type"] in REF_IS_ARN:
            return self._arn(name, stack)
        if resource["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{resource['Properties']['QueueName']}"
        if resource["Type"] == "AWS::S3::Bucket":
            return str(self._filled(resource["Properties"]["BucketName"], stack))
        return name

    def _arn(self, name: str, stack: str) -> str:
        resource = self.templates[stack]["Resources"][name]
        if resource["Type"] == "AWS::S3::Bucket":
            return f"arn:aws:s3:::{self._ref(name, stack)}"
        if resource["Type"] not in ARNS:
            return f"{name}.Arn"
        service, pattern = ARNS[resource["Type"]]
        return arn(service, pattern.format_map({**resource["Properties"], "RoleName": name} | resource["Properties"]))
