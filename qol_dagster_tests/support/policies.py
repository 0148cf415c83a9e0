"""What IAM would say: the statements of a role, and whether they allow something.

A stand-in for the policy simulator of AWS, as far as the statements here go: patterns, Deny before Allow, and the
conditions of `OPERATORS`; any other is an error rather than a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from qol_dagster_tests.support.templates import System

OPERATORS = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringLike": lambda wanted, given: fnmatchcase(given, wanted),
    "Bool": lambda wanted, given: wanted == given,
}
Context = Mapping[str, str | tuple[str, ...]]
"""Keys of a request, some with several values."""


@dataclass(frozen=True)
class Role:
    """A role with all its statements."""

    name: str
    statements: tuple[dict[str, Any], ...]

    def may(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether a request is allowed."""
        effects = {one["Effect"] for one in self.statements if _applies(one, action, resource, context or {})}
        return effects == {"Allow"}


def roles_of(system: System) -> dict[str, Role]:
    """All roles by name. Every policy has to be part of a role: one that is attached would be overlooked here."""
    assert not system.all("AWS::IAM::Policy")
    assert not system.all("AWS::IAM::ManagedPolicy")
    return {one["RoleName"]: Role(one["RoleName"], _statements(one)) for one in system.all("AWS::IAM::Role")}


def _statements(role: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    assert "ManagedPolicyArns" not in role
    documents = [policy["PolicyDocument"] for policy in role["Policies"]]
    return tuple(statement for document in documents for statement in document["Statement"])


def _applies(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}
    return (
        any(fnmatchcase(action, one) for one in _listed(statement["Action"]))
        and any(fnmatchcase(resource, one) for one in _listed(statement["Resource"]))
        and all(
            _holds(operator, _listed(wanted), context.get(key))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def _holds(operator: str, wanted: list[str], given: str | tuple[str, ...] | None) -> bool:
    """Return whether a condition holds of a key's values. `ForAllValues` holds of none, as IAM has it."""
    quantifier, _, plain = operator.rpartition(":")
    if plain.endswith("IfExists") and given is None:
        return True
    values = (given,) if isinstance(given, str) else given or ()
    found = [any(OPERATORS[plain.removesuffix("IfExists")](one, value) for one in wanted) for value in values]
    return all(found) if quantifier == "ForAllValues" else any(found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
