"""An alert when what no run reads begins or grows: quarantine, dead letters, files that are no raw files.

Belongs here: when an alert is due, as a pure function, what it says, and the sensor around it. Counting belongs in
`resources/unread.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import dagster as dg

from qol_dagster.defs.messages import NOT_SENT, Message, send_growth, subject
from qol_dagster.resources.platform import Resources
from qol_dagster.resources.unread import ADVICE, ADVICE_JA, count_unread

EVERY_S = 3600


def growth(counts: Mapping[str, int], before: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return what there is more of than before: (then, now) by name."""
    return {name: (before.get(name, 0), now) for name, now in counts.items() if now > before.get(name, 0)}


def message(grown: Mapping[str, tuple[int, int]]) -> tuple[str, str]:
    """Return subject and body: what grew, and what to do about each, in English and Japanese."""
    labels = {name: name.replace("_", " ") for name in grown}
    lines = [
        f"{labels[name]}: {now} ({then} before)\n  {ADVICE[name]}.\n  {ADVICE_JA[name]}。\n"
        for name, (then, now) in grown.items()
    ]
    intro = (
        "Something is stored that no run reads; it stays as it came. It is over when `qol doctor` does not count it.\n"
        "どの実行でも読まれないものが、届いたままの形で保存されています。"
        "`qol doctor` に件数が表示されなくなれば解消です。\n\n"
    )
    return subject("not_read", what=", ".join(labels.values())), intro + "\n".join(lines)


def _summary(counts: Mapping[str, int]) -> str:
    left = [f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items() if count]
    return f"no more than before ({', '.join(left)})" if left else "nothing is left unread"


def unread_sensor(parts: Resources) -> dg.SensorDefinition:
    """`unread_sensor` over a lake."""

    @dg.sensor(
        name="unread_sensor",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts people when quarantine, dead letters or files that no run reads begin or grow.",
    )
    def unread_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        counts = count_unread(parts.lake(), parts.settings)
        before = json.loads(context.cursor) if context.cursor else {}
        alerted = send_growth(
            parts.notifier(), counts, before, lambda grown: [Message(grown, *message(growth(counts, before)))]
        )
        context.update_cursor(json.dumps(alerted.levels, sort_keys=True))
        if alerted.unsent:
            return dg.SkipReason(NOT_SENT)
        names = ", ".join(alerted.sent)
        return dg.SkipReason(f"alerted: {names}" if names else f"no alert: {_summary(counts)}")

    return unread_sensor
