"""The rule that every test is held to finds what it must find."""

from __future__ import annotations

import logging

import pytest

from qol_dagster_tests.support import log_privacy
from qol_dagster_tests.support.log_privacy import confidential, heard, told

WEBHOOK_SECRET = "an-unguessable-secret"
USERS = {"garmin-user-1": "P1"}
TEXT = "anybody may read this"


def test_the_constants_of_a_module_tell_what_is_confidential_in_it() -> None:
    module = type(log_privacy)("some_tests")
    vars(module).update(globals())
    assert confidential(module) == {WEBHOOK_SECRET, "garmin-user-1"}


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("push of 4aacafe82427c251df9c9592d0c06768 taken", True),
        ("KeyError: '4aacafe82427c251df9c9592d0c06768'", True),
        ("POST /garmin/an-unguessable-secret", True),
        ("garmin-user-1 is new", True),
        ("run 4aacafe8-2427-c251-df9c-9592d0c06768 failed", False),
        ("raw/daily/date=2026-11-16/" + 2 * "4aacafe82427c251df9c9592d0c06768" + ".jsonl", False),
        (TEXT, False),
    ],
)
def test_a_line_is_looked_through(line: str, is_told: bool) -> None:
    assert bool(told([line], [WEBHOOK_SECRET, *USERS])) is is_told


def test_everything_is_heard_also_below_warnings_and_in_traces() -> None:
    with heard() as lines:
        logging.getLogger("qol_ingest.webhook").debug("quiet %s", "word")
        try:
            int("in a trace")
        except ValueError:
            logging.getLogger("elsewhere").exception("loud word")
    assert lines[0] == "qol_ingest.webhook: quiet word"
    assert "loud word" in lines[1]
    assert "in a trace" in lines[1]
    logging.getLogger("qol_ingest.webhook").warning("over")
    assert len(lines) == 2
