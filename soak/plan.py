"""Which faults come in which week: a function of the seed.

Belongs here: the kinds of faults and dealing them out. What each does is in `pushes.py`, `command_weeks.py` and
`daemon_weeks.py`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

Fault = Literal[
    "receiver_killed",
    "receiver_disk_full",
    "store_fails",
    "clock_set_back",
    "body_half_sent",
    "callback_fails",
    "run_killed",
    "run_disk_full",
    "lake_read_only",
    "parquet_damaged",
    "sqlite_damaged",
    "two_runs",
    "files_half_written",
    "mail_server_down",
    "foreign_file",
    "daemon_killed",
    "daemon_run_killed",
    "two_daemons",
    "callback_dead",
]
WHILE_PUSHED: Sequence[Fault] = (
    *("receiver_killed", "receiver_disk_full", "store_fails", "clock_set_back", "body_half_sent"),
    "callback_fails",
)
IN_A_COMMAND: Sequence[Fault] = (
    *("run_killed", "run_disk_full", "lake_read_only", "parquet_damaged", "sqlite_damaged", "two_runs"),
    "files_half_written",
)
WITH_THE_DAEMON: Sequence[Fault] = (
    *("mail_server_down", "foreign_file", "daemon_killed", "daemon_run_killed", "two_daemons"),
    "callback_dead",
)
"""`mail_server_down` is a run that fails just before: what cannot be sent is tried again for a week. `callback_dead` is
a download that fails in the hours before; the daemon alerts of the dead letter, and after that it is redriven."""
KINDS = (*WHILE_PUSHED, *IN_A_COMMAND, *WITH_THE_DAEMON)


def deal(seed: int, weeks: int, daemon_weeks: Sequence[int], per_week: float) -> Mapping[int, list[Fault]]:
    """Return the faults of each week (from 0 on): each kind once at least, and so many in a week on average.

    No week has a kind twice. Faults of the daemon come in weeks that have it, those of commands in the others, if
    there are any.
    """
    chance = random.Random(f"faults {seed}")
    others = [week for week in range(weeks) if week not in daemon_weeks] or list(range(weeks))
    fitting: dict[Fault, Sequence[int]] = {
        **dict.fromkeys(WHILE_PUSHED, range(weeks)),
        **dict.fromkeys(IN_A_COMMAND, others),
        **dict.fromkeys(WITH_THE_DAEMON, daemon_weeks),
    }
    found: dict[int, list[Fault]] = {week: [] for week in range(weeks)}
    wanted = list(KINDS) + [chance.choice(KINDS) for _ in range(max(0, round(per_week * weeks) - len(KINDS)))]
    for kind in wanted:
        free = [week for week in fitting[kind] if kind not in found[week]]
        if free:
            fewest = min(len(found[week]) for week in free)
            found[chance.choice([week for week in free if len(found[week]) == fewest])].append(kind)
    return found
