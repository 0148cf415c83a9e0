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


ISO_TIME = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]{1,9}))?)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):?([0-5][0-9])?)?)?$"
)
"""ISO 8601 with a calendar date: date, hour, minute, second, fraction; sign, hours and minutes of the zone."""
OUR_TIME = r"____-__-__T__:__:__.___Z"
"""As the receiver writes it."""


def iso_ms(text: str, *, date_ms: str) -> str:
    """Return the milliseconds since 1970 of a text that is like ISO_TIME; UTC if it names no zone.

    `date_ms` is the engine's way to those of a date.
    """

    def part(number: int) -> str:
        return f"regexp_extract({text}, '{ISO_TIME}', {number})"

    hour, minute, second, zone_h, zone_min = (
        f"coalesce(CAST(nullif({part(number)}, '') AS BIGINT), 0)" for number in (2, 3, 4, 7, 8)
    )
    local = f"{date_ms.format(part(1))} + 3600000 * {hour} + 60000 * {minute} + 1000 * {second}"
    fraction = f"CAST(left(concat({part(5)}, '000'), 3) AS BIGINT)"
    zone = f"CASE WHEN {part(6)} = '-' THEN -1 ELSE 1 END * (3600000 * {zone_h} + 60000 * {zone_min})"
    return f"({local} + {fraction} - {zone})"


def as_text(text: str, _field: Field) -> str:
    """Any scalar's text."""
    return text


def as_flag(text: str, _field: Field) -> str:
    """True where the text says so, in any case, or is 1."""
    return f"coalesce(lower({text}) IN ('true', '1', '1.0'), false)"
