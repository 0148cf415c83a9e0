"""Connections that nobody uses, kept alive: Garmin's refresh token dies after 90 days without use.

Belongs here: whose tokens are renewed, and when. A participant whose data are pushed needs no token for months, and
then a ping, a backfill or the end of a registration needs one. Renewing itself is `garmin/tokens.py`'s.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from qol_ingest.garmin.api import GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError, TokenStoreError
from qol_ingest.pulling.backfill import SPACING_S
from qol_ingest.shared.errors import QolError
from qol_ingest.shared.id_map import IdMap, IdMapError

log = logging.getLogger(__name__)

RENEW_BEFORE_S = 45 * 86_400.0
"""How long before its end a refresh token is renewed: half of its life, so that weeks of failures do no harm."""
EVERY_S = 86_400.0
"""How often tokens are looked at."""


class RenewalError(QolError):
    """Tokens could not be looked at, or Garmin does not answer; the message says why."""


def renew_tokens(
    api: GarminApi,
    id_map: IdMap,
    stopped: Callable[[], bool] = lambda: False,
    *,
    sleep: Callable[[float], Any] = time.sleep,
) -> Mapping[str, int]:
    """Renew what ends soon, one after the other, until `stopped` says so. Return how many, by outcome.

    The order is by chance, so that who was not reached has as good a chance the next day as anybody. Garmin's refusal
    of one token is noted with it, as in any use. Raises RenewalError when the rest has to wait.
    """
    outcomes: Counter[str] = Counter()
    try:
        users = [one.garmin_user_id for one in id_map.list() if one.status == "active"]
        random.shuffle(users)
        for user in users:
            if stopped():
                break
            if outcome := _renewed(api, user):
                outcomes[outcome] += 1
                sleep(SPACING_S)
    except (GarminApiError, TokenStoreError, IdMapError) as error:
        raise RenewalError(f"tokens that end soon are not renewed: {error}") from error
    finally:
        if outcomes:
            log.info("tokens: %s", ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
    return dict(outcomes)


def _renewed(api: GarminApi, user: str) -> str:
    try:
        return "renewed" if api.access.renew(user, RENEW_BEFORE_S) else ""
    except ConsentNeededError as error:
        log.warning("%s", error)
        return "consent"


def keep_renewing(api: GarminApi, id_map: IdMap, over: Event) -> None:
    """Renew what ends soon each day, until it is over."""
    while not over.is_set():
        try:
            renew_tokens(api, id_map, over.is_set, sleep=over.wait)
        except RenewalError as error:
            log.warning("%s; they are looked at again in a day", error)
        over.wait(EVERY_S)
