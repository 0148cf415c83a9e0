"""`user_id_map` in DynamoDB: the same map as in `id_map`, one item a Garmin user.

Belongs here: how each change becomes one conditional write. A participant id is claimed by an item of its own, because
DynamoDB keeps nothing unique but keys; its key begins with #, which no Garmin user id does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from qol_ingest.shared import aws, id_map
from qol_ingest.shared.erasures import AnyLedger
from qol_ingest.shared.id_map import (
    LEFT,
    LEFT_AT_GARMIN,
    SEEN_STEP,
    Change,
    Enrolment,
    IdMapError,
    Imported,
    LeftError,
    Row,
    Status,
    allowed_of,
    check_participant,
    check_stays,
    check_swapped,
    check_user,
    free_ids,
    is_user,
    list_,
    past_text,
    permissions_line,
    readmit,
    text_of,
    unless_ahead,
    without_withdrawn,
)

CLAIM = "#"
KEY = "garmin_user_id"
MOST_IN_ONE = 49
"""Enrolments that fit into one transaction: two of its 100 writes each, and one for how many are pending."""
MOST_NEW = 99
"""Users that are noted together: with their number, a transaction's 100 writes, and as many reads."""
PENDING, COUNT = "##pending", "pending_count"
"""The key of an item, and its attribute, that say how many users were never enrolled. No participant id begins with #.
"""
TRIES = 20
LONGEST_PAUSE_S = 0.25

Item = dict[str, Any]
_Enrolment = tuple[str, str | None, datetime | None]
"""User, participant id and date of enrolment."""


@dataclass(frozen=True)
class DynamoIdMap:
    """The map in a table with the partition key `garmin_user_id`."""

    table: str
    client: Any = field(default=None, repr=False)
    ledger: AnyLedger | None = field(default=None, repr=False)
    """Who withdrew or was erased, and is enrolled again only by a new decision."""

    def add(
        self,
        garmin_user_id: str,
        participant_id: str | None = None,
        *,
        at: datetime | None = None,
        after_leaving: bool = False,
    ) -> str:
        """See `IdMap`."""
        for _ in _tries():
            step = _Step(self, self._free_ids(), past_text(at), () if after_leaving else LEFT_AT_GARMIN)
            wanted = step.enrol(garmin_user_id, participant_id)
            if self._transact(step.writes):
                return wanted
        raise IdMapError(_BUSY)

    def enrol(self, users: Iterable[str], *, at: datetime | None = None) -> int:
        """See `IdMap`. All or none up to `MOST_IN_ONE`; beyond that in steps."""
        return self._in_steps([(user, None, None) for user in users], past_text(at)).enrolled

    def import_rows(self, rows: Iterable[Row], *, after_leaving: bool = False) -> Imported:
        """See `IdMap`. All or none up to `MOST_IN_ONE`; beyond that in steps."""
        left = () if after_leaving else LEFT
        return self._in_steps([row if len(row) == 3 else (*row, None) for row in rows], left=left)

    def forget(self, garmin_user_id: str) -> bool:
        """See `IdMap`."""
        for _ in _tries():
            old = self.item(garmin_user_id)
            if old is None:
                return False
            delete = {"Key": {KEY: {"S": garmin_user_id}}, **_unchanged(old)}
            if self._transact([delete, *self.count_fewer(not old["participant_id"])]):
                return True
        raise IdMapError(_BUSY)

    def list(self) -> list_[Enrolment]:
        """See `IdMap`."""
        return sorted(map(_enrolment, self._everyone()), key=lambda one: (one.participant_id, one.garmin_user_id))

    def get(self, garmin_user_id: str) -> Enrolment | None:
        """See `IdMap`."""
        item = self.item(garmin_user_id)
        return _enrolment(item) if item else None

    def revoke(self, participant_id: str) -> int:
        """See `IdMap`."""
        users = [item[KEY] for item in self._everyone() if item["participant_id"] == participant_id != ""]
        if not users:
            raise IdMapError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
        for user in users:
            self._change(user, lambda item: _with_status(item, "revoked", _now()))
        return len(users)

    def withdraw(self, participant_id: str, since: date) -> int:
        """See `IdMap`."""

        def leave(item: Item) -> Item | None:
            if item["status"] in ("revoked", "erasing"):
                raise IdMapError(id_map.NOTHING_TO_WITHDRAW.format(participant_id))
            if item["status"] == "withdrawn":
                return None
            return {**_with_status(item, "withdrawn", _now()), "withdrawn_from": since.isoformat()}

        users = [item[KEY] for item in self._everyone() if item["participant_id"] == participant_id != ""]
        if not users:
            raise IdMapError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
        for user in users:
            self._change(user, leave)
        return len(users)

    def begin_erasure(self, users: Iterable[str]) -> None:
        """See `IdMap`."""
        for user in users:
            self._change(user, lambda item: _with_status(item, "erasing", _now()))

    def end_erasure(self, users: Iterable[str], participants: Iterable[str]) -> None:
        """See `IdMap`. Earlier states of the table can be brought back for as long as AWS keeps them."""
        for user in users:
            self.forget(user)
        for participant in participants:
            self._ask("delete_item", Key={KEY: {"S": CLAIM + participant}})

    def seen(self, users: Iterable[str], at: datetime) -> int:
        """See `IdMap`."""
        asked, new = sorted({user for user in users if _is_key(user)}), 0
        for start in range(0, len(asked), MOST_NEW):
            new += self._note_pending(asked[start : start + MOST_NEW], at)
        return new

    def deregister(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""
        left = False

        def leave(item: Item) -> Item | None:
            nonlocal left
            left = item["status"] != "deregistered"
            if text_of(at) < unless_ahead(item["status_at"]):
                return None
            # Again: what was found out before this does not take it back.
            return _with_status(item, "deregistered", text_of(at)) if left else {**item, "status_at": text_of(at)}

        return self._change(garmin_user_id, leave) and left

    def reinstate(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""

        def back(item: Item) -> Item | None:
            if item["status"] != "deregistered" or text_of(at) < unless_ahead(item["status_at"]):
                return None
            return _with_status(item, item["status_before"] or "pending", text_of(at))

        return self._change(garmin_user_id, back)

    def narrow_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""

        def narrow(item: Item) -> Item | None:
            if text_of(at) <= unless_ahead(item["permissions_at"]):
                return None
            allowed = without_withdrawn(item["permissions"], permissions)
            return _with_permissions(item, allowed, text_of(at))

        return self._change(garmin_user_id, narrow)

    def confirm_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        is_new = False

        def confirm(item: Item) -> Item | None:
            nonlocal is_new
            allowed = allowed_of(permissions)
            is_new = item["permissions"] != allowed
            if text_of(at) <= unless_ahead(item["permissions_at"]):
                return None
            return {**_with_permissions(item, allowed, text_of(at)), "permissions_at": text_of(at)}

        return self._change(garmin_user_id, confirm) and is_new

    def history(self, participant_id: str) -> Sequence[Change]:
        """See `IdMap`."""
        items = [item for item in self._everyone() if item["participant_id"] == participant_id != ""]
        lines = [line for item in items for line in item["history"]]
        return [Change(line["at"], line["what"]) for line in sorted(lines, key=lambda line: line["noted_at"])]

    def item(self, user: str) -> Item | None:
        """Return one user's item, with all its attributes."""
        if not _is_key(user):
            return None
        found = self._ask("get_item", Key={KEY: {"S": user}}, ConsistentRead=True)
        return _unpacked(found["Item"]) if "Item" in found else None

    def items(self) -> Iterator[Item]:
        """Yield every item as it is: of users, of participant ids that are given, and of how many are pending."""
        return self._scan()

    def put_item(self, item: Item) -> None:
        """Write an item as it was, in place of any other."""
        self._ask("put_item", Item=_packed(item))

    # -- changes

    def _note_pending(self, users: Sequence[str], at: datetime) -> int:
        """Note those who are unknown, with how many there are now, as far as they fit."""
        for _ in _tries():
            known = self._known([*users, PENDING])  # nearly all are, and a read costs less than a write
            unknown = [user for user in users if user not in known]
            before = text_of(at - SEEN_STEP)
            self._note_seen([user for user in users if user in known and known[user].get("seen_at", "") <= before], at)
            counted = known.get(PENDING, _NONE_PENDING)
            fitting = unknown[: max(0, id_map.MOST_PENDING - int(counted[COUNT]))]
            items = [
                _with_history({**_new(user, text_of(at)), "seen_at": text_of(at)}, text_of(at), "pending")
                for user in fitting
            ]
            writes = [{"Item": _packed(_next(item)), "ConditionExpression": _IS_NEW} for item in items]
            if not fitting or self._transact([*writes, _counter(counted, len(fitting))]):
                if len(fitting) < len(unknown):
                    raise IdMapError(id_map.TOO_MANY_PENDING)
                return len(fitting)
        raise IdMapError(_BUSY)

    def _note_seen(self, users: Sequence[str], at: datetime) -> None:
        """Note when users pushed. Nothing else of an item changes, and neither does its version."""
        for user in users:
            self._ask(
                "update_item",
                Key={KEY: {"S": user}},
                UpdateExpression="SET seen_at = :at",
                ConditionExpression=f"attribute_exists({KEY})",
                ExpressionAttributeValues={":at": {"S": text_of(at)}},
            )

    def count_fewer(self, number: int) -> list_[Item]:
        """Return the write that goes with that of users who are pending no longer, if any are counted."""
        if not number:
            return []
        found = self._ask("get_item", Key={KEY: {"S": PENDING}}, ConsistentRead=True)
        return [_counter(_plain(found["Item"]), -number)] if "Item" in found else []

    def _change(self, user: str, change: Callable[[Item], Item | None]) -> bool:
        """Read, change, and write if nobody wrote meanwhile. False if there is nobody, or nothing to change."""
        for _ in _tries():
            old = self.item(user)
            new = change(old) if old else None
            if old is None or new is None or new == old:
                return False
            if self._put(_next(new), _unchanged(old)):
                return True
        raise IdMapError(_BUSY)

    def _in_steps(self, rows: list_[_Enrolment], at: str = "", left: Collection[Status] = ()) -> Imported:
        done, who_left = 0, list_[str]()
        while done < len(rows):
            before = f"the {done} entries before entry {done + 1} are enrolled" if done else "nobody was enrolled"
            steps = (self._step_from(rows, done, before, _Step(self, self._free_ids(), at, left)) for _ in _tries())
            written = next((step for step in steps if self._transact(step.writes)), None)
            if written is None:
                raise IdMapError(f"the id map was changed by somebody else meanwhile; {before}; do the same again")
            who_left += written.who_left
            done = min(done + MOST_IN_ONE, len(rows))
        return Imported(done - len(who_left), tuple(who_left))

    def _step_from(self, rows: list_[_Enrolment], done: int, before: str, step: _Step) -> _Step:
        """Return the step with the next enrolments. Raises IdMapError that names the entry, and what was done."""
        for number, (user, participant, enrolled_at) in enumerate(rows[done : done + MOST_IN_ONE], start=done + 1):
            try:
                if participant is not None:
                    check_participant(participant.strip(), user)
                step.enrol(user, participant, past_text(enrolled_at))
            except LeftError as error:
                step.who_left.append(f"entry {number}: {error}")
            except IdMapError as error:
                raise IdMapError(f"entry {number}: {error}; {before}") from error
        return step

    def _free_ids(self) -> Iterator[str]:
        """Yield a generator, so that the table is read only if an id is needed."""
        items, ledger = self._scan(), self.ledger
        found = free_ids(item[KEY].removeprefix(CLAIM) if _is_claim(item) else item["participant_id"] for item in items)
        yield from (one for one in found if ledger is None or ledger.state_of_participant(one) is None)

    # -- DynamoDB

    def _known(self, keys: Sequence[str]) -> dict[str, Item]:
        """Return which of at most 100 keys there are; one that DynamoDB did not get to may be missing."""
        names = f"{KEY}, {COUNT}, version, seen_at"
        wanted = {"Keys": [{KEY: {"S": key}} for key in keys], "ProjectionExpression": names, "ConsistentRead": True}
        answer = self._call("batch_get_item", RequestItems={self.table: wanted})
        return {item[KEY]: item for item in map(_plain, answer["Responses"].get(self.table, ()))}

    def has_claim(self, participant: str) -> bool:
        """Return whether a participant id is given to somebody."""
        found = self._ask("get_item", Key={KEY: {"S": CLAIM + participant}}, ConsistentRead=True)
        return "Item" in found

    def _everyone(self) -> Iterator[Item]:
        return (item for item in self._scan() if not _is_claim(item))

    def _scan(self) -> Iterator[Item]:
        more: Item = {}
        while True:
            page = self._ask("scan", ConsistentRead=True, **more)
            yield from map(_unpacked, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _put(self, item: Item, condition: Item) -> bool:
        return self._ask("put_item", Item=_packed(item), **condition) is not None

    def _transact(self, writes: Sequence[Item]) -> bool:
        """Do all writes or none; False if somebody wrote meanwhile."""
        items = [{"Put" if "Item" in one else "Delete": {"TableName": self.table, **one}} for one in writes]
        return not items or self._call("transact_write_items", TransactItems=items) is not None

    def _ask(self, call: str, **arguments: Any) -> Any:
        return self._call(call, TableName=self.table, **arguments)

    def _call(self, call: str, **arguments: Any) -> Any:
        """Call DynamoDB and return its answer; None when the condition of a write does not hold. Raises IdMapError."""
        try:
            return getattr(self._client, call)(**arguments)
        except aws.faults() as error:
            if _is_conflict(error):
                return None
            raise IdMapError(f"DynamoDB did not do {call} on the id map: {aws.why(error)}") from None

    @cached_property
    def _client(self) -> Any:
        return aws.client("dynamodb") if self.client is None else self.client


_BUSY = "the id map is being changed by too many at once; try again"
_IS_NEW = f"attribute_not_exists({KEY})"
_NONE_PENDING: Item = {KEY: PENDING, COUNT: 0, "version": 0}


def _counter(counted: Item, more: int) -> Item:
    """Return the write of another number of pending users, if nobody wrote meanwhile."""
    number, version = max(0, int(counted[COUNT]) + more), int(counted["version"])
    condition = _unchanged({"version": version}) if version else {"ConditionExpression": _IS_NEW}
    return {"Item": _packed({KEY: PENDING, COUNT: number, "version": version + 1}), **condition}


class _Step:
    """Enrolments that are written together; each of them sees those before it."""

    def __init__(self, id_map: DynamoIdMap, free: Iterator[str], at: str, left: Collection[Status]) -> None:
        """`at`: as of when users are enrolled, "" for now. `left`: the statuses of users who are not."""
        self._id_map, self._free, self._at, self._left = id_map, free, at, left
        self.who_left: list_[str] = []
        self._items: dict[str, Item] = {}
        self._writes: dict[str, Item] = {}
        self._no_longer_pending = 0

    @property
    def writes(self) -> list_[Item]:
        """The `Put`s of one transaction, one for each key."""
        return [*self._writes.values(), *self._id_map.count_fewer(self._no_longer_pending)]

    def enrol(self, user: str, participant: str | None, enrolled_at: str = "") -> str:
        """Add what there is to write for an enrolment to `writes`, and return the participant id. Raises IdMapError.

        `enrolled_at` is when it was made, "" for now.
        """
        user = check_user(user)
        if user.startswith(CLAIM):
            raise IdMapError(f"a Garmin user id does not begin with {CLAIM}")
        old = self._items.get(user) or self._id_map.item(user)
        known = old["participant_id"] if old else ""
        wanted = participant.strip() if participant else (known or next(self._free))
        check_participant(wanted, user)
        check_swapped(
            user_is_participant=CLAIM + user in self._writes or self._id_map.has_claim(user),
            participant_is_user=wanted in self._items or self._id_map.item(wanted) is not None,
            user=user,
        )
        if known and known != wanted:
            raise IdMapError(f"this Garmin user is enrolled as {known} already; revoke {known} or leave it as it is")
        if old is not None:
            check_stays(old["status"], old["status_at"], self._left, known or (participant or "").strip())
        if self._id_map.ledger is not None:
            readmit(self._id_map.ledger, user, wanted)
        at = self._at or _now()
        new = old or _new(user, at)
        new = new if new["status"] == "active" else _enrolled(new, wanted, at)
        if self._at:
            new = {**new, **{name: min(new[name], at) for name in ("enrolled_at", "status_at")}}
        new = {**new, "enrolled_at": enrolled_at or new["enrolled_at"]}
        if new != old:
            self._no_longer_pending += old is not None and not known
            self._write(old, new, is_own_choice=participant is not None)
        return wanted

    def _write(self, old: Item | None, item: Item, *, is_own_choice: bool) -> None:
        self._items[item[KEY]] = item
        condition = _unchanged(old) if old else {"ConditionExpression": _IS_NEW}
        self._writes[item[KEY]] = {"Item": _packed(_next(item)), **condition}
        claim, is_known = CLAIM + item["participant_id"], bool(old and old["participant_id"])
        write: Item = {"Item": {KEY: {"S": claim}}}
        if not is_own_choice and not is_known:  # an id that was free must still be
            write["ConditionExpression"] = _IS_NEW
        self._writes.setdefault(claim, write)


def _tries() -> Iterator[int]:
    """As many tries as a change is given, with pauses of chance between them."""
    for number in range(TRIES):
        yield number
        time.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.01 * 2**number)))  # noqa: S311 - no secret


def _is_conflict(error: Exception) -> bool:
    if aws.why(error) in ("ConditionalCheckFailedException", "TransactionConflictException"):
        return True
    reasons = {one.get("Code") for one in getattr(error, "response", {}).get("CancellationReasons", ())} - {"None"}
    return bool(reasons) and reasons <= {"ConditionalCheckFailed", "TransactionConflict"}


def _is_key(user: str) -> bool:
    return is_user(user) and not user.startswith(CLAIM)


def _is_claim(item: Item) -> bool:
    return bool(item[KEY].startswith(CLAIM))


def _unchanged(old: Item) -> Item:
    if not old["version"]:  # not written by this
        return {"ConditionExpression": "attribute_not_exists(version)"}
    return {
        "ConditionExpression": "version = :version",
        "ExpressionAttributeValues": {":version": {"N": str(old["version"])}},
    }


def _new(user: str, at: str) -> Item:
    names = ("participant_id", "enrolled_at", "status_before", "status_at", "permissions_at", "withdrawn_from")
    texts = dict.fromkeys(names, "")
    return {
        KEY: user,
        "status": "pending",
        "created_at": at,
        "updated_at": at,
        "permissions": None,
        "history": [],
        "version": 0,
        "seen_at": "",
        **texts,
    }


def _enrolled(item: Item, participant: str, at: str) -> Item:
    item = {**item, "participant_id": participant, "enrolled_at": item["enrolled_at"] or at}
    return _with_status(item, "active", at)


def _with_status(item: Item, status: str, at: str) -> Item:
    if item["status"] == status:
        return item
    return _with_history({**item, "status_before": item["status"], "status": status, "status_at": at}, at, status)


def _with_permissions(item: Item, allowed: list_[str], at: str) -> Item:
    if item["permissions"] == allowed:
        return item
    return _with_history({**item, "permissions": allowed}, at, permissions_line(allowed))


def _with_history(item: Item, at: str, what: str) -> Item:
    line = {"at": at, "what": what, "noted_at": _now()}
    return {**item, "history": [*item["history"], line][-id_map.MOST_LINES :]}


def _next(item: Item) -> Item:
    return {**item, "version": item["version"] + 1, "updated_at": _now()}


def _enrolment(item: Item) -> Enrolment:
    permissions = None if item["permissions"] is None else tuple(item["permissions"])
    return Enrolment(
        item[KEY],
        item["participant_id"],
        item["status"],
        item["updated_at"],
        item["enrolled_at"],
        permissions,
        item["permissions_at"],
        item["created_at"],
        item.get("seen_at", ""),
        item.get("status_before", ""),
        item.get("withdrawn_from", ""),
        item.get("status_at", ""),
    )


def _packed(item: Item) -> Item:
    from boto3.dynamodb.types import TypeSerializer

    packed: Item = TypeSerializer().serialize(item)["M"]
    return packed


def _plain(item: Item) -> Item:
    from boto3.dynamodb.types import TypeDeserializer

    read: Item = TypeDeserializer().deserialize({"M": item})
    return read


def _unpacked(item: Item) -> Item:
    """Return an item with all attributes. One that something else wrote has a participant id and is in use."""
    read = _plain(item)
    usual = _new(read[KEY], "")
    usual["permissions_at"] = read.pop("permissions_order", "")[:29]  # older items: text that begins with the time
    if read.get("participant_id"):
        usual["status"] = "active"
    return {**usual, **read, "version": int(read.get("version", 0))}


def _now() -> str:
    return text_of(datetime.now(UTC))
