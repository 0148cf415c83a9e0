"""`qol heartbeat`: whether Dagster's daemon is at work, and one alert when it is not.

Belongs here: what something outside Dagster asks every few minutes (cron, a systemd timer), since a daemon that is gone
alerts nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qol_dagster.cli.dagster_files import is_beating, last_heartbeat, last_seen
from qol_dagster.defs.messages import subject
from qol_dagster.errors import QolInputError
from qol_dagster.resources.outbox import Outgoing
from qol_dagster.resources.platform import open_platform
from qol_ingest.shared.keys import ALERTS

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

MARKER = f"{ALERTS}/daemon-gone"
BODY = """\
Dagster's daemon is not running; last seen: {seen}. Without it no week runs by itself, and no sensor alerts anybody;
the receiver goes on storing what Garmin sends. Start it (`qol dev`, or the service that runs it) and look at its log.
It is over when `qol heartbeat` says that it runs; what was missed is computed then.

Dagster のデーモンが動作していません（最後の確認：{seen_ja}）。デーモンがないと週の計算は自動で行われず、
センサーの通知も届きません。受信は続いており、Garmin から届くデータは保存されます。デーモン（`qol dev`、
またはそれを動かすサービス）を起動し、ログを確認してください。`qol heartbeat` に動作中と表示されれば解消です。
止まっていた間の計算は、その後に行われます。
"""


def heartbeat(settings: Settings) -> str:
    """Check the daemon: "" if it is at work, else what is known, and the first call of an outage alerts people.

    Raises QolInputError on AWS, where alarms watch the daemon's work.
    """
    if settings.target != "local":
        raise QolInputError("on AWS the alarms of CloudWatch watch what the daemon does; see docs/aws.md")
    platform, beat = open_platform(settings), last_heartbeat(settings)
    alert = Outgoing(platform.marker, MARKER)
    if is_beating(beat):
        alert.give_back()
        return ""
    if alert.claim():
        body = BODY.format(seen=last_seen(beat), seen_ja=last_seen(beat, "なし"))
        alert.settle(is_sent=platform.notifier().send(subject("daemon_gone"), body))
    return f"Dagster's daemon is not running; last seen: {last_seen(beat)}"
