"""The SQL by which DuckDB reads raw lines: each line is parsed once, each declared field taken out of it, typed.

Belongs here: how each kind of field is read, and which lines need a second look. Nothing is inferred, and what does not
fit its kind is null. Where files are, and what is done with their records, is `duckdb.py`'s.
"""

from __future__ import annotations

import json
from typing import Any

from qol_dagster.engines.sql import ISO_TIME, OUR_TIME, as_flag, as_text, first_of, iso_ms, number_within
from qol_dagster.metrics.fields import FIELDS, NESTED, SCALARS, Field, Kind
from qol_ingest.shared.limits import LARGEST_NUMBER

LONGEST_CHECKED = 4 * 1024 * 1024
"""Bytes of a line up to which its keys are looked at; a whole day of samples has a fortieth of them."""
OTHER_SPELLINGS = {name for field in FIELDS for name in field.garmin[1:] if name.lower() == field.garmin[0].lower()}
"""They differ from the documented name by case only, which two fields of a struct cannot."""
NESTED_FIELDS = [field for field in FIELDS if field.kind in NESTED]
PARTS = {field.garmin[0].partition(".")[0] for field in NESTED_FIELDS}
"""The members of a line that hold nested fields. Of each its own text is taken, so that the line is parsed once."""

_DATE = "right(parse_dirpath(filename, 'forward_slash'), 10)"
_FILE = "parse_filename(filename, true, 'forward_slash')"


def typed_lines(longest_line: int) -> str:
    """Return the query that reads the lines of `$paths` (of at most so many bytes), one typed row a line.

    Columns: date and file, of the path `date=DATE/FILE.jsonl`, the fields, and `odd`: whether parsers read the line
    differently, so that it needs a second look. For an offset that comes twice it does, too: `duckdb_odd.py`. Lines
    of a file are in their order. A join would undo that, whatever `preserve_insertion_order` says.
    """
    # In steps, as DuckDB works out what stands in a CASE as often as it stands there.
    texts = [f"{_found(name, field.kind)} AS {label}" for field in SCALARS for label, name in _labelled(field)]
    parts = [f"{_plain(f'found.{part}')} AS {part}" for part in sorted(PARTS)]
    scalars = [f"{_value(field)} AS {field.name}" for field in SCALARS]
    nested = [f"{_LISTS[field.kind](*_place(field))} AS {field.name}" for field in NESTED_FIELDS]
    names = ", ".join(field.name for field in FIELDS)
    return f"""
        SELECT date, file, {names},
               CASE WHEN json IS NULL THEN true
                    WHEN NOT ours AND strlen(json) <= {LONGEST_CHECKED} THEN {_read_differently()}
                    ELSE false END AS odd
        FROM (
            SELECT date, file, json, {", ".join(scalars)}, {", ".join(nested)},
                   coalesce(ingest_id_0 = file AND length(file) = 64, false) AS ours
            FROM (
                SELECT {_DATE} AS date, {_FILE} AS file, json, {", ".join(texts)}, {", ".join(parts)}
                FROM (
                    SELECT filename, json, json_transform(json, '{json.dumps(_structure())}') AS found
                    FROM read_json_objects($paths, format = 'newline_delimited', ignore_errors = true, filename = true,
                                           hive_partitioning = false, maximum_object_size = {longest_line})
                )
            )
        )
    """


def _structure() -> dict[str, Any]:
    """Return what is taken out of a line at once: scalars as text, whatever they are, and what is nested as JSON."""
    structure: dict[str, Any] = dict.fromkeys(sorted(PARTS), "JSON")
    for field in SCALARS:
        for name in field.garmin:
            above, _, below = name.partition(".")
            if below:
                structure.setdefault(above, {})[below] = "VARCHAR"
            elif name not in OTHER_SPELLINGS:
                structure[name] = "VARCHAR"
    return structure


def _read_differently() -> str:
    """Whether DuckDB reads what is no JSON, or the first of two values of a key, of which the last one counts.

    The receiver takes no such line, so only those of others are asked.
    """
    twice = "list_unique(json_keys(json)) <> len(json_keys(json))"
    trailing = "regexp_matches(json, ',[ \\t\\r\\n]*[]}]')"
    return f"coalesce({twice} OR {trailing}, true)"


def _labelled(field: Field) -> list[tuple[str, str]]:
    """Return each name a scalar goes by, with a column's name for it."""
    return [(f"{field.name}_{number}", name) for number, name in enumerate(field.garmin)]


def _found(name: str, kind: Kind) -> str:
    text = f"found.{name}"
    if name in OTHER_SPELLINGS:
        text = f"CASE WHEN contains(json, '{name}') THEN json_extract_string(json, '$.{name}') END"
    # NaN and infinities are beyond the largest number.
    return f"TRY_CAST({_plain(text)} AS DOUBLE)" if kind == "number" else text


def _plain(text: str) -> str:
    """Return text in which nothing is left that DuckDB alone takes for a number: 1_000, +-5."""
    return f"replace(replace({text}, '_', '?'), '+-', '?')"


def _value(field: Field) -> str:
    return first_of([_READERS[field.kind](label, field) for label, _ in _labelled(field)])


def _time(text: str, _field: Field) -> str:
    """As the receiver writes it at once; in other spellings part by part."""
    ours = f"epoch_ms(TRY_CAST(replace({text}, 'Z', '') AS TIMESTAMP))"
    other = iso_ms(text, date_ms="epoch_ms(TRY_CAST({} AS TIMESTAMP))")
    return f"CASE WHEN {text} LIKE '{OUR_TIME}' THEN {ours} WHEN regexp_matches({text}, '{ISO_TIME}') THEN {other} END"


_READERS = {"number": number_within, "text": as_text, "flag": as_flag, "time": _time}


def _place(field: Field) -> tuple[str, str]:
    """Return the member of the line that holds a nested field, and the path to it from there."""
    part, _, below = field.garmin[0].partition(".")
    return part, f"$.{below}" if below else "$"


def _samples(part: str, path: str) -> str:
    # An object's keys and values come in the same order.
    offsets = f"TRY_CAST(json_keys({part}, '{path}') AS DOUBLE[])"
    values = f"TRY_CAST(json_extract_string({part}, '{path}.*') AS DOUBLE[])"
    return f"{{'t': {offsets}, 'v': {values}}}"


def _intervals(part: str, path: str) -> str:
    ends = f"TRY_CAST(json_extract_string({part}, '{path}.*[*].endTimeInSeconds') AS DOUBLE[])"
    return f"list_filter({ends}, lambda x: abs(x) <= {LARGEST_NUMBER})"


def _spans(part: str, path: str) -> str:
    start, end = (f"TRY_CAST(json_extract_string(x, '$.{side}TimeInSeconds') AS DOUBLE)" for side in ("start", "end"))
    spans = f"TRY_CAST(json_extract({part}, '{path}') AS JSON[])"
    spans = f"list_transform({spans}, lambda x: {{'s': {start}, 'e': {end}}})"
    return f"list_filter({spans}, lambda x: abs(x.s) <= {LARGEST_NUMBER} AND abs(x.e) <= {LARGEST_NUMBER})"


_LISTS = {"samples": _samples, "intervals": _intervals, "spans": _spans}
