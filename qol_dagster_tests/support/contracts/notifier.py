"""What every notifier does, by the fixture `outlet`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest  # noqa: TC002 - what an argument is, as in any test

from qol_dagster.defs.alerts import Alert
from qol_dagster.resources.notifier import Notifier

ALERT = Alert("run-1", "weekly_metrics_job", "2026-11-16", "weekly_etl", "LakeError: no space left")


@dataclass(frozen=True)
class Outlet:
    """A notifier, one of the same kind that reaches nobody, and what was told: subjects and bodies."""

    notifier: Notifier
    broken: Notifier
    told: Callable[[], list[tuple[str, str]]]


def test_a_message_arrives_with_its_subject_and_all_of_its_body(outlet: Outlet) -> None:
    assert outlet.notifier.send("[qol] it failed", "first line\nsecond: 日本\n") is True
    ((subject, body),) = outlet.told()
    assert subject == "[qol] it failed"
    assert body.replace("\r\n", "\n").strip() == "first line\nsecond: 日本"


def test_a_subject_of_several_lines_is_one_line(outlet: Outlet) -> None:
    assert outlet.notifier.send("[qol] it\nfailed\r\n  for good", "body") is True
    assert [subject for subject, _ in outlet.told()] == ["[qol] it failed for good"]


def test_who_reaches_nobody_says_so_and_the_log_has_the_message(
    outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    assert outlet.broken.send("[qol] it failed", "the reason") is False
    for words in ("the alert could not be sent", "[qol] it failed", "the reason"):
        assert words in caplog.text
    assert outlet.told() == []
