"""What every token store does, by the fixture `new_store`: tokens in use are refreshed once and never lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from qol_ingest.garmin.tokens import (
    AccessTokens,
    ConsentNeededError,
    RefreshRefusedError,
    Tokens,
    TokenStore,
    TokenStoreError,
)

USER, OTHER = "4aacafe82427c251df9c9592d0c06768", "b2f0d1c9a6e34e5f8d7c6b5a49382716"
NOW = 1_800_000_000.0
DAY_S = 86_400.0


def tokens(number: int, expires_at: float = NOW + DAY_S) -> Tokens:
    return Tokens(f"access-{number}-secret", f"refresh-{number}-secret", expires_at, NOW + 90 * DAY_S)


# -- what every store does


def test_tokens_are_kept_for_their_user_until_they_are_deleted(new_store: Callable[[], TokenStore]) -> None:
    assert new_store().get(USER) is None
    new_store().delete(USER)
    new_store().put(USER, tokens(1))
    new_store().put(OTHER, tokens(2))
    assert (new_store().get(USER), new_store().get(OTHER)) == (tokens(1), tokens(2))
    new_store().put(USER, tokens(3))
    new_store().delete(OTHER)
    assert (new_store().get(USER), new_store().get(OTHER)) == (tokens(3), None)


def test_tokens_are_replaced_only_if_they_are_the_ones_that_are_kept(new_store: Callable[[], TokenStore]) -> None:
    store = new_store()
    assert not store.replace(USER, tokens(1), tokens(2))
    assert store.get(USER) is None
    store.put(USER, tokens(1))
    assert not store.replace(USER, tokens(2), tokens(3))
    assert store.replace(USER, tokens(1), tokens(1))
    assert store.replace(USER, tokens(1), tokens(2))
    assert store.get(USER) == tokens(2)


def test_of_many_who_replace_the_same_tokens_one_succeeds(new_store: Callable[[], TokenStore]) -> None:
    new_store().put(USER, tokens(0))
    together = threading.Barrier(8)

    def swap(number: int) -> bool:
        store = new_store()
        together.wait()
        return store.replace(USER, tokens(0), tokens(number))

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(swap, range(1, 9)))
    assert sum(done) == 1
    assert new_store().get(USER) == tokens(done.index(True) + 1)


def test_a_lock_keeps_others_out_for_one_user_and_not_for_another(new_store: Callable[[], TokenStore]) -> None:
    for user in (USER, OTHER):
        new_store().put(user, tokens(1))
    inside, most = 0, 0

    def work(_: int) -> None:
        nonlocal inside, most
        with new_store().locked(USER):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    with new_store().locked(OTHER), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert (inside, most) == (0, 1)


def test_a_lock_is_free_again_after_an_error(new_store: Callable[[], TokenStore]) -> None:
    new_store().put(USER, tokens(1))
    with pytest.raises(ZeroDivisionError), new_store().locked(USER):
        raise ZeroDivisionError
    with new_store().locked(USER):
        pass
    assert new_store().get(USER) == tokens(1)


def test_a_lock_can_be_had_before_there_are_tokens(new_store: Callable[[], TokenStore]) -> None:
    with new_store().locked(USER):
        new_store().put(USER, tokens(1))
    assert new_store().get(USER) == tokens(1)


# -- a token that is valid now


@dataclass
class Garmin:
    """Answers refreshes as Garmin does: each refresh token once."""

    kept: int = 1
    calls: int = 0
    refuse: bool = False
    during: Callable[[], None] = lambda: None
    lock: Any = field(default_factory=threading.Lock)

    def refresh(self, refresh_token: str) -> Tokens:
        with self.lock:
            self.calls += 1
            self.during()
            if self.refuse or refresh_token != tokens(self.kept).refresh_token:
                raise RefreshRefusedError("no")
            self.kept += 1
            return tokens(self.kept)


def access(store: TokenStore, garmin: Garmin, clock: Callable[[], float] = lambda: NOW) -> AccessTokens:
    return AccessTokens(store, garmin.refresh, lambda user: "P0001", clock, lambda _seconds: None)


def test_a_token_is_used_until_ten_minutes_before_its_end_and_then_refreshed(
    new_store: Callable[[], TokenStore],
) -> None:
    store, garmin = new_store(), Garmin()
    store.put(USER, tokens(1))
    ends_at = NOW + DAY_S
    at = {"now": ends_at - 601}
    asking = access(store, garmin, lambda: at["now"])
    assert (asking.for_user(USER), garmin.calls) == ("access-1-secret", 0)
    at["now"] = ends_at - 600
    assert asking.for_user(USER) == "access-2-secret"
    assert store.get(USER) == tokens(2)


def test_a_token_that_garmin_rejects_early_is_refreshed_and_one_that_is_newer_is_not(
    new_store: Callable[[], TokenStore],
) -> None:
    store, garmin = new_store(), Garmin()
    store.put(USER, tokens(1))
    asking = access(store, garmin)
    assert asking.for_user(USER, rejected="access-1-secret") == "access-2-secret"
    assert asking.for_user(USER, rejected="access-1-secret") == "access-2-secret"
    assert garmin.calls == 1


def test_twenty_threads_with_an_expired_token_refresh_it_once(new_store: Callable[[], TokenStore]) -> None:
    new_store().put(USER, tokens(1, NOW))
    garmin, together = Garmin(during=lambda: time.sleep(0.02)), threading.Barrier(20)

    def ask(_: int) -> str:
        asking = access(new_store(), garmin)
        together.wait()
        return asking.for_user(USER)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {"access-2-secret"}
    assert garmin.calls == 1


class Flaky:
    """A store whose writes fail: `failing` says which of them, counted from 0."""

    def __init__(self, inner: TokenStore, failing: Callable[[int], bool]) -> None:
        self.inner, self.failing, self.writes = inner, failing, 0
        self.get, self.put, self.delete, self.locked = inner.get, inner.put, inner.delete, inner.locked

    def replace(self, user: str, old: Tokens, new: Tokens) -> bool:
        self.writes += 1
        if self.failing(self.writes - 1):
            raise TokenStoreError("disk full")
        return self.inner.replace(user, old, new)


def test_new_tokens_whose_write_fails_are_written_again(new_store: Callable[[], TokenStore]) -> None:
    store, garmin = Flaky(new_store(), lambda write: 0 < write < 6), Garmin()
    store.put(USER, tokens(1, NOW))
    assert access(store, garmin).for_user(USER) == "access-2-secret"
    assert (store.get(USER), garmin.calls, store.writes) == (tokens(2), 1, 7)


def test_a_write_that_was_done_though_it_failed_is_seen(new_store: Callable[[], TokenStore]) -> None:
    inner, garmin = new_store(), Garmin()
    inner.put(USER, tokens(1, NOW))

    def fail_after_writing(write: int) -> bool:
        return write == 1 and inner.replace(USER, tokens(1, NOW), tokens(2))

    assert access(Flaky(inner, fail_after_writing), garmin).for_user(USER) == "access-2-secret"
    assert garmin.calls == 1


def test_a_store_that_cannot_be_written_uses_up_no_refresh_token(new_store: Callable[[], TokenStore]) -> None:
    store, garmin = new_store(), Garmin()
    store.put(USER, tokens(1, NOW))
    with pytest.raises(TokenStoreError, match="disk full"):
        access(Flaky(store, lambda _write: True), garmin).for_user(USER)
    assert (store.get(USER), garmin.calls) == (tokens(1, NOW), 0)


def test_a_refused_refresh_asks_for_consent_and_is_not_tried_again(new_store: Callable[[], TokenStore]) -> None:
    store, garmin = new_store(), Garmin(refuse=True)
    store.put(USER, tokens(1, NOW))
    asking = access(store, garmin)
    assert asking.known(USER)
    for _ in range(2):
        with pytest.raises(ConsentNeededError, match="^P0001 has to connect to Garmin again; send an invitation$"):
            asking.for_user(USER)
    assert (garmin.calls, asking.known(USER)) == (1, False)
    store.put(USER, tokens(7))
    assert (asking.for_user(USER), asking.known(USER)) == ("access-7-secret", True)


def test_a_user_without_tokens_has_to_connect(new_store: Callable[[], TokenStore]) -> None:
    asking = access(new_store(), Garmin())
    assert not asking.known(USER)
    with pytest.raises(ConsentNeededError, match="^P0001 has not connected to Garmin; send an invitation$"):
        asking.for_user(USER)


@pytest.mark.parametrize("refused", [False, True])
def test_a_participant_who_connects_during_a_refresh_keeps_the_tokens_of_that(
    new_store: Callable[[], TokenStore], refused: bool
) -> None:
    store = new_store()
    store.put(USER, tokens(1, NOW))
    garmin = Garmin(refuse=refused, during=lambda: store.put(USER, tokens(9)))
    assert access(store, garmin).for_user(USER) == "access-9-secret"
    assert store.get(USER) == tokens(9)


def test_what_garmin_does_not_answer_changes_nothing(new_store: Callable[[], TokenStore]) -> None:
    store = new_store()
    store.put(USER, tokens(1, NOW))

    def fail() -> None:
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        access(store, Garmin(during=fail)).for_user(USER)
    assert store.get(USER) == tokens(1, NOW)
