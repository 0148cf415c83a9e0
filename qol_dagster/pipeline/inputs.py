"""What a partition was made from, as its writer notes it: fingerprints by which the cause of a revision is found.

Belongs here: the notes that `lake/revisions.py` compares. Whether a partition is computed again, `plan.py` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qol_dagster.engines.queries import WEEKLY_STAGES
from qol_dagster.identities import Identities
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_dagster.metrics.thresholds import Thresholds


def noted_inputs(
    *, raw: str, people: str, code: Iterable[str], thresholds: Thresholds, counts: Mapping[str, int], engine: str
) -> dict[str, Any]:
    """Return the notes of what a partition is made from.

    `raw`, `people` and `code` are fingerprints; `counts` are those of people as `count_accounts` has them.
    """
    return {
        "inputs": {"raw": raw, "people": people, "code": _digest(code), "thresholds": thresholds.as_dict()},
        "people": dict(counts),
        "metrics_version": METRICS_VERSION,
        "engine": engine,
    }


def week_code(days: Iterable[str], sql: Iterable[str]) -> str:
    """Return the fingerprint of what a row of a week is computed by.

    `days`: the `code` of the week's own dates, which a run brings up to date before it writes the week. `sql`: the
    expressions of the week's table.
    """
    return _digest([*dict.fromkeys(days), *sql])


def weekly_sql(sql: Mapping[str, str]) -> list[str]:
    """Return the expressions of the weekly table."""
    return [sql[name] for name in (*WEEKLY_STAGES, "weekly_rows")]


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def count_accounts(identities: Identities) -> dict[str, int]:
    """Return how many accounts are known, and of how many something may not be used."""
    return {
        "known": len(identities.active.keys() | identities.revoked),
        "withheld": len(identities.revoked - identities.active.keys()) + len(identities.withheld),
    }


def people_fingerprint(identities: Identities) -> str:
    """Changes with who is who, and with the dates of enrolment."""
    dates = "".join(f"{participant} {day}\n" for participant, day in sorted(identities.enrolled.items()))
    return hashlib.sha256(f"{identities.fingerprint()}\0{dates}".encode()).hexdigest()[:16]


def inherited(notes: Sequence[Mapping[str, Any]]) -> tuple[str, list[str], dict[str, int]]:
    """Return people, code and counts of people of the daily partitions that a week is made from, given by date.

    They are usually the same for all; what an older release wrote has none.
    """
    inputs = [found for one in notes if isinstance(found := one.get("inputs"), dict)]
    counts = [found for one in notes if isinstance(found := one.get("people"), dict)]
    people, code = (list(dict.fromkeys(str(one.get(name, "")) for one in inputs)) for name in ("people", "code"))
    return " ".join(people), code, dict(counts[-1]) if counts else {}
