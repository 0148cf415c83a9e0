"""Who may do what: one role for each principal, with every statement spelled out.

Belongs here: how statements and roles are made, and how a departure from a rule of cdk-nag is explained. What a
principal is allowed stands beside it, in its stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam

from infra.names import REGION
from qol_dagster.errors import QolInputError

if TYPE_CHECKING:
    from constructs import Construct

RULES = "AwsSolutions"
USES_OF_A_KEY = (
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
    *("kms:ReEncryptFrom", "kms:ReEncryptTo"),
)
"""What a service needs of a key to write under it; AWS writes this with wildcards."""


class AccessError(QolInputError):
    """A statement is wider than it needs to be, and nobody says why."""


@dataclass(frozen=True)
class Statement:
    """What may be done on which resources, under which conditions. `because` says why a resource is a pattern.

    Raises AccessError for a pattern without a reason, and for any pattern of actions.
    """

    actions: tuple[str, ...]
    on: tuple[str, ...]
    because: str = ""
    when: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    effect: iam.Effect = iam.Effect.ALLOW

    def __post_init__(self) -> None:
        if any("*" in action for action in self.actions):
            raise AccessError(f"name every action instead of {', '.join(self.actions)}")
        if self.is_pattern and not self.because:
            raise AccessError(f"say why {', '.join(self.actions)} is allowed on a pattern of resources")

    @property
    def is_pattern(self) -> bool:
        """Whether it allows something on resources that are not named one by one."""
        return self.effect == iam.Effect.ALLOW and any("*" in one for one in self.on)

    @property
    def policy(self) -> iam.PolicyStatement:
        """The same for CDK."""
        return iam.PolicyStatement(
            effect=self.effect, actions=[*self.actions], resources=[*self.on], conditions=dict(self.when)
        )


def allow(*actions: str, on: Sequence[str], because: str = "", when: Mapping[str, Any] | None = None) -> Statement:
    """Return a statement that allows."""
    return Statement(actions, tuple(on), because, when or {})


def deny(*actions: str, on: Sequence[str]) -> Statement:
    """Return a statement that forbids, whatever else is allowed to the same principal later."""
    return Statement(actions, tuple(on), effect=iam.Effect.DENY)


def decrypt(key_arn: str, *services: str) -> Statement:
    """Reading what a key protects, through these services only."""
    return allow("kms:Decrypt", "kms:DescribeKey", on=[key_arn], when=_through(services))


def encrypt(key_arn: str, *services: str) -> Statement:
    """Writing under a key, through these services only. They read what they have written, so that is allowed too."""
    return allow(*USES_OF_A_KEY, on=[key_arn], when=_through(services))


def seal(key_arn: str, *services: str) -> Statement:
    """Writing under a key, through these services only, without reading what is under it."""
    return allow("kms:GenerateDataKey", on=[key_arn], when=_through(services))


def _through(services: Sequence[str]) -> Mapping[str, Any]:
    return {"StringEquals": {"kms:ViaService": [f"{service}.{REGION}.amazonaws.com" for service in services]}}


def role(
    scope: Construct, name: str, principal: iam.IPrincipal, statements: Sequence[Statement], description: str
) -> iam.Role:
    """Return the role of a principal, with the construct id `Role` and one policy of these statements."""
    document = iam.PolicyDocument(statements=[one.policy for one in statements], minimize=False)
    made = iam.Role(
        scope,
        "Role",
        role_name=name,
        assumed_by=principal,
        description=description,
        inline_policies={"Statements": document},
    )
    for statement in statements:
        if statement.is_pattern:
            patterns = [one for one in map(Stack.of(scope).resolve, statement.on) if "*" in _flat(one)]
            explain(made, {f"IAM5[Resource::{_flat(one)}]": statement.because for one in patterns})
    return made


def people(account: str) -> iam.PrincipalBase:
    """People of the account who have signed in with a second factor."""
    return iam.AccountPrincipal(account).with_conditions({"Bool": {"aws:MultiFactorAuthPresent": "true"}})


def people_and(account: str, role_arn: str) -> iam.PrincipalBase:
    """People as in `people`, and whoever has a role, which need not be there yet."""
    same = {"ArnEquals": {"aws:PrincipalArn": role_arn}}
    return iam.CompositePrincipal(people(account), iam.AccountPrincipal(account).with_conditions(same))


def explain(construct: Construct, reasons: Mapping[str, str]) -> None:
    """Depart from rules of cdk-nag, each with the reason for it."""
    rules = [Acknowledgment(id=f"{RULES}-{rule}", reason=reason) for rule, reason in reasons.items()]
    Validations.of(construct).acknowledge(*rules)


def _flat(resource: Any) -> str:
    """Return a resource as cdk-nag writes it in the id of a finding: `{"Ref": X}` is <X>."""
    if isinstance(resource, str):
        return re.sub(r"\$\{|\}", lambda found: "<" if found[0] == "${" else ">", resource)
    if "Fn::Join" in resource:
        between, parts = resource["Fn::Join"]
        return str(between).join(map(_flat, parts))
    if "Fn::GetAtt" in resource:
        return f"<{'.'.join(resource['Fn::GetAtt'])}>"
    return f"<{resource['Ref']}>"
