"""An alert when something should be looked at though no run has failed.

Belongs here: what is said of each condition, in English and Japanese, and the sensor around it, which also sends again
what could not be sent about failed runs. When a condition holds belongs in `resources/watch.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, TickStatus

from qol_dagster.defs.alerts import resend_failures
from qol_dagster.defs.messages import NOT_SENT, Message, send_growth, subject
from qol_dagster.resources.platform import Resources
from qol_dagster.resources.watch import Condition, ConditionName, conditions, gather_facts

EVERY_S = 3600
FAILED_TICKS = 3
"""So many ticks in a row that fail are no hiccup."""
WATCHED_ON_AWS: tuple[ConditionName, ...] = ("no_data", "week_missing")
"""CloudWatch has alarms for these: one cause, one mail."""


@dataclass(frozen=True)
class Text:
    """What a condition means, what to look at, what to do, and when it is over; values are in braces."""

    english: str
    japanese: str


TEXTS: Mapping[ConditionName, Text] = {
    "no_data": Text(
        english="Nothing came from anybody for {hours} hours. Send a test push with `qol doctor --webhook URL`. If "
        "it is taken, look at the subscriptions in Garmin's developer portal; if not, at the receiver and at what "
        "is in front of it. Garmin sends again for 7 days what it could not deliver. It is over when `qol doctor` "
        "shows new arrivals.",
        japanese="どの参加者からも {hours} 時間データが届いていません。`qol doctor --webhook URL` でテスト用のプッシ"
        "ュを送ってください。届く場合は Garmin の開発者ポータルの購読設定を、届かない場合は受信部分とその手前を確認"
        "してください。Garmin は届けられなかったデータを 7 日間再送します。`qol doctor` に新しい受信が表示されれば解"
        "消です。",
    ),
    "week_missing": Text(
        english="`weekly_metrics` of the week {week} is not there, though its run was due on Wednesday at 09:05 "
        "Japan time. Look at the last run and at `qol doctor` (does the daemon run?), then run "
        "`qol materialize --week {week}`. It is over when that week is in the table.",
        japanese="{week} の週の `weekly_metrics` がありません。計算は水曜日の 9 時 5 分（日本時間）の予定でした。最"
        "新の実行と `qol doctor`（デーモンが動いているか）を確認し、`qol materialize --week {week}` を実行してくださ"
        "い。その週が表に現れれば解消です。",
    ),
    "weeks_left_out": Text(
        english="`weekly_metrics` has no rows of {weeks}, though raw files of {n} such weeks are there and weeks "
        "before and after are computed. A run failed, or was never asked for. Run `qol materialize --week DATE` for "
        "each; `qol doctor` names them. It is over when those weeks are in the table.",
        japanese="`weekly_metrics` に {weeks} の週がありません（全部で {n} 週）。生データはあり、前後の週は計算済みで"
        "す。実行が失敗したか、要求されなかったと考えられます。それぞれの週に `qol materialize --week DATE` を実行して"
        "ください。該当する週は `qol doctor` に表示されます。その週が表に現れれば解消です。",
    ),
    "fewer_valid_days": Text(
        english="In the week {week}, {now} of the participants' days are valid; in the weeks before it was {usual}. "
        "The weekly report of that week shows whose days are missing and why: devices not worn, or not "
        "synchronised. If it is everybody, look at the receiver. It is over when a week is as usual again.",
        japanese="{week} の週の有効日の割合は {now} で、それまでの週は {usual} でした。その週の週間レポートで、だれ"
        "の日がなぜ欠けているか（装着していない、同期していない）を確認してください。全員の場合は受信部分を確認して"
        "ください。いつもの割合に戻れば解消です。",
    ),
    "silent": Text(
        english="Participants who have sent nothing for {days} days or longer: {n}. `qol silent --days {days}` "
        "names them; the weekly report says what is known of the reason. It is over when their devices synchronise.",
        japanese="{days} 日以上データが届いていない参加者が {n} 人います。`qol silent --days {days}` で参加者を確認"
        "できます。わかっている理由は週間レポートにあります。機器が同期されれば解消です。",
    ),
    "to_invite": Text(
        english="Participants whose questionnaire may be answered and who have no link yet: {n}. `qol survey invite "
        "--due` makes the links, and letters with QR codes; the weekly report names the participants. Whoever answers "
        "on paper gets a sheet. It is over when they have a link or have answered.",
        japanese="質問票に回答できる時期になり、まだリンクのない参加者が {n} 人います。`qol survey invite --due` でリン"
        "ク（QR コードつきの案内状も）を作れます。参加者は週間レポートに示されます。紙で回答する方には用紙を渡してくだ"
        "さい。リンクを作るか回答が届けば解消です。",
    ),
    "ticks_fail": Text(
        english="The last ticks failed of {names}: what they watch or start is not done. Their page in Dagster ("
        "`qol dev`, under Automation) says why. It is over when a tick succeeds.",
        japanese="{names} の直近の処理が続けて失敗しており、その監視や起動が行われていません。Dagster（`qol dev`）の"
        " Automation のページで原因を確認してください。次の処理が成功すれば解消です。",
    ),
    "disk_full": Text(
        english="{free_gb} GB are free where QOL_HOME is. When the disk is full the receiver answers 503, Garmin "
        "sends again for 7 days, and runs fail; nothing stored is lost. Free some space. It is over when "
        "`qol doctor` finds enough.",
        japanese="QOL_HOME のあるディスクの空きは {free_gb} GB です。いっぱいになると受信部分は 503 を返し（Garmin "
        "は 7 日間再送します）、実行は失敗しますが、保存済みのデータは失われません。空きを増やしてください。"
        "`qol doctor` で十分と表示されれば解消です。",
    ),
}


def message(condition: Condition) -> tuple[str, str]:
    """Return subject and body, in English and Japanese."""
    text = TEXTS[condition.name]
    return subject(condition.name, **condition.values), f"{text.english}\n\n{text.japanese}\n".format(
        **condition.values
    )


def failing(instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Return the sensors and schedules whose last ticks all failed."""
    running = [state for state in instance.all_instigator_state() if state.is_running]
    return tuple(sorted(state.instigator_name for state in running if _fails(instance, state)))


def _fails(instance: dg.DagsterInstance, state: InstigatorState) -> bool:
    over = [TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.SKIPPED]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=FAILED_TICKS, statuses=over)
    return len(ticks) == FAILED_TICKS and all(tick.status == TickStatus.FAILURE for tick in ticks)


def watch_sensor(parts: Resources) -> dg.SensorDefinition:
    """Return the sensor that alerts when a condition begins and when it gets worse; what is over may begin again."""

    @dg.sensor(
        name="watch_sensor",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts people when no data comes, a week is missing or left out, far fewer days are valid, "
        "participants fall silent or are to be invited to the questionnaire, sensors or schedules fail, or the disk "
        "is nearly full; once, and again when it gets worse. Alerts about failed runs that could not be sent are sent "
        "here.",
    )
    def watch_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not resend_failures(parts, context.instance):
            return dg.SkipReason(f"{NOT_SENT}: run_failed")
        facts = gather_facts(parts, datetime.now(UTC), failing(context.instance))
        elsewhere = WATCHED_ON_AWS if parts.settings.target == "aws" else ()
        held = {one.name: one for one in conditions(facts) if one.name not in elsewhere}
        before = json.loads(context.cursor) if context.cursor else {}
        alerted = send_growth(
            parts.notifier(),
            {name: condition.level for name, condition in held.items()},
            before,
            lambda grown: [Message([name], *message(held[name])) for name in held if name in grown],
        )
        context.update_cursor(json.dumps(alerted.levels))
        if alerted.unsent:
            return dg.SkipReason(f"{NOT_SENT}: {', '.join(sorted(alerted.unsent))}")
        names = ", ".join(alerted.sent)
        return dg.SkipReason(f"alerted: {names}" if names else f"no alert: {', '.join(held) or 'all is well'}")

    return watch_sensor
