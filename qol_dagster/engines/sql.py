"""What the SQL of both engines has in common: how the text of a JSON value becomes the value of a field."""

from __future__ import annotations

from collections.abc import Sequence

from qol_dagster.metrics.fields import Field
from qol_ingest.shared.limits import LARGEST_NUMBER


def first_of(values: Sequence[str]) -> str:
    """Return the first of several readings that is not null."""
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def number_within(number: str, field: Field) -> str:
    """Return a number, null where the field's limits say that it is no data."""
    smallest = -LARGEST_NUMBER if field.minimum is None else field.minimum
    above = f"{number} {'>' if field.exclusive else '>='} {smallest}"
    return f"CASE WHEN {above} AND {number} <= {LARGEST_NUMBER} THEN {number} END"


def as_text(text: str, _field: Field) -> str:
    """Any scalar's text."""
    return text


def as_flag(text: str, _field: Field) -> str:
    """True where the text says so, in any case."""
    return f"coalesce(lower({text}) = 'true', false)"
