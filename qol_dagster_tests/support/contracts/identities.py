"""What the weekly job sees of every id map, by the fixture `people`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest  # noqa: TC002 - what an argument is, as in any test

from qol_dagster.resources.id_map import IdMap

LATER = datetime.now(UTC) + timedelta(hours=1)
USER, OTHER = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"


def test_the_job_knows_who_is_in_use_who_is_not_and_nothing_of_those_who_were_never_enrolled(people: IdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P2"), ("third", "P3"), ("fourth", "P4")])
    people.revoke("P2")
    people.deregister("third", LATER)
    people.narrow_permissions("fourth", ["HISTORICAL_DATA_EXPORT"], LATER)
    found = people.identities()
    assert (dict(found.active), found.revoked) == ({USER: "P1"}, {OTHER, "third", "fourth"})
    people.confirm_permissions("fourth", ["ACTIVITY_EXPORT", "HEALTH_EXPORT"], LATER + timedelta(seconds=1))
    assert dict(people.identities().active) == {USER: "P1", "fourth": "P4"}


def test_the_job_knows_which_of_the_permissions_a_user_withholds(people: IdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P2"), ("third", "P3")])
    before = people.identities().fingerprint()
    people.narrow_permissions(USER, ["ACTIVITY_EXPORT"], LATER)
    people.narrow_permissions(OTHER, ["HEALTH_EXPORT", "MCT_EXPORT"], LATER)
    found = people.identities()
    assert dict(found.active) == {USER: "P1", OTHER: "P2", "third": "P3"}
    assert found.withheld == {USER: "HEALTH_EXPORT", OTHER: "ACTIVITY_EXPORT"}
    assert found.participants_with_health_data() == {"P2", "P3"}
    assert found.fingerprint() != before


def test_strangers_who_push_change_permissions_and_leave_make_no_day_computed_again(people: IdMap) -> None:
    people.add(USER, "P1")
    before = people.identities().fingerprint()
    people.seen([OTHER, "third"], LATER)
    people.narrow_permissions(OTHER, [], LATER)
    people.deregister("third", LATER)
    assert people.identities().fingerprint() == before
    people.add(OTHER)
    assert people.identities().fingerprint() != before


def at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    for form in ("id_map_sqlite", "id_map_dynamo"):
        monkeypatch.setattr(f"qol_ingest.shared.{form}._now", lambda: f"{moment}.000+00:00")


def test_a_participant_is_enrolled_from_the_first_account_s_date_in_japan_on(
    people: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, "2026-11-17T15:00:00")
    people.add(USER, "P1")
    people.seen([OTHER, "third"], LATER)
    at(monkeypatch, "2026-11-17T14:59:59")
    people.add("fourth", "P2")
    at(monkeypatch, "2026-12-01T00:00:00")
    people.add(OTHER, "P1")
    people.add("fifth", "P2")
    people.revoke("P2")
    found = people.identities()
    assert found.enrolled == {"P1": date(2026, 11, 18), "P2": date(2026, 11, 17)}
    assert set(found.active.values()) == {"P1"}
    people.deregister(USER, LATER)
    people.add("fourth", "P2")
    assert people.identities().enrolled == found.enrolled
    assert set(people.identities().active.values()) == {"P1", "P2"}


def test_another_date_of_enrolment_makes_no_day_computed_again(people: IdMap) -> None:
    people.add(USER, "P1")
    found = people.identities()
    assert replace(found, enrolled={"P1": date(2020, 1, 1)}).fingerprint() == found.fingerprint()
