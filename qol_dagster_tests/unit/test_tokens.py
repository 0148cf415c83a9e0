"""Tokens at rest and in use: encrypted, refreshed once however many ask, and never lost between two of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from qol_ingest.garmin import tokens as tokens_module
from qol_ingest.garmin.tokens import (
    AccessTokens,
    ConsentNeededError,
    FileTokenStore,
    RefreshRefusedError,
    SecretsManagerTokenStore,
    Tokens,
    TokenStore,
    TokenStoreError,
)

USER, OTHER = "4aacafe82427c251df9c9592d0c06768", "b2f0d1c9a6e34e5f8d7c6b5a49382716"
NOW = 1_800_000_000.0
DAY_S = 86_400.0


def tokens(number: int, expires_at: float = NOW + DAY_S) -> Tokens:
    return Tokens(f"access-{number}-secret", f"refresh-{number}-secret", expires_at, NOW + 90 * DAY_S)


class SecretsManager:
    """As much of Secrets Manager as its documentation says about the four calls used here, in memory."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[tuple[str, str]]] = {}
        self.lock = threading.Lock()
        self.keys: list[str] = []

    def get_secret_value(self, **asked: Any) -> dict[str, str]:
        with self.lock:
            version, content = self._versions(asked["SecretId"])[-1]
            return {"VersionId": version, "SecretString": content}

    def create_secret(self, **asked: Any) -> dict[str, str]:
        with self.lock:
            if asked["Name"] in self.secrets:
                raise _refusal("ResourceExistsException")
            self.keys.append(asked.get("KmsKeyId", ""))
            self.secrets[asked["Name"]] = [(os.urandom(16).hex(), asked["SecretString"])]
            return {"Name": asked["Name"]}

    def put_secret_value(self, **asked: Any) -> dict[str, str]:
        version, content = asked["ClientRequestToken"], asked["SecretString"]
        assert 32 <= len(version) <= 64
        with self.lock:
            versions = self._versions(asked["SecretId"])
            known = dict(versions).get(version)
            if known is None:
                versions.append((version, content))
            elif known != content:
                raise _refusal("ResourceExistsException")
            return {"Name": asked["SecretId"]}

    def delete_secret(self, **asked: Any) -> dict[str, str]:
        assert asked["ForceDeleteWithoutRecovery"]
        with self.lock:
            self._versions(asked["SecretId"])
            del self.secrets[asked["SecretId"]]
            return {"Name": asked["SecretId"]}

    def _versions(self, name: str) -> list[tuple[str, str]]:
        if name not in self.secrets:
            raise _refusal("ResourceNotFoundException")
        return self.secrets[name]


def _refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a message that quotes arn:aws:secret"}}, "Call")


@pytest.fixture
def file_store(tmp_path: Path) -> FileTokenStore:
    return FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "keys" / "tokens.key")


@pytest.fixture
def secrets_manager() -> SecretsManager:
    return SecretsManager()


@pytest.fixture(params=["file", "secrets manager"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], TokenStore]:
    """Gives a new object for the same store, as another process has it. A further form is one more parameter."""
    if request.param == "file":
        return lambda: FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "keys" / "tokens.key")
    client = SecretsManager()
    return lambda: SecretsManagerTokenStore(client=client, sleep=lambda _seconds: time.sleep(0.005))


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


PROCESS = """
import os, sys, time
from pathlib import Path
from qol_ingest.garmin.tokens import AccessTokens, FileTokenStore, Tokens

folder = Path(sys.argv[1])

def refresh(token):
    handle = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{token}\\n".encode())
    time.sleep(0.1)
    return Tokens("access-2-secret", "refresh-2-secret", time.time() + 86400, time.time() + 864000)

asking = AccessTokens(FileTokenStore(folder / "tokens.sqlite", folder / "keys" / "tokens.key"), refresh)
print("ready", flush=True)
sys.stdin.readline()
print(asking.for_user(sys.argv[2]))
"""


def test_four_processes_with_an_expired_token_refresh_it_once(file_store: FileTokenStore, tmp_path: Path) -> None:
    file_store.put(USER, tokens(1, time.time()))
    command = [sys.executable, "-c", PROCESS, str(tmp_path), USER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    assert [one.stdout.readline() for one in running] == ["ready\n"] * 4
    for one in running:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=30)[0] for one in running] == ["access-2-secret\n"] * 4
    assert (tmp_path / "calls").read_text() == "refresh-1-secret\n"


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


# -- the file


def test_neither_a_token_nor_a_user_id_can_be_read_in_any_file(file_store: FileTokenStore, tmp_path: Path) -> None:
    file_store.put(USER, tokens(1))
    file_store.replace(USER, tokens(1), tokens(2))
    with file_store.locked(USER):
        pass
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    told = "\n".join(map(str, files)).encode() + b"".join(path.read_bytes() for path in files)
    for private in (
        b"access-",
        b"refresh-",
        b"-secret",
        USER.encode(),
        hashlib.sha256(USER.encode()).hexdigest().encode(),
    ):
        assert private not in told


def test_the_files_are_for_their_owner_alone(file_store: FileTokenStore, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        file_store.put(USER, tokens(1))
        with file_store.locked(USER):
            pass
    finally:
        os.umask(umask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    files = [modes.pop("tokens.sqlite"), modes.pop("tokens.key"), modes.pop("keys"), modes.pop("tokens.sqlite.locks")]
    assert files == [0o600, 0o600, 0o700, 0o700]
    assert list(modes.values()) == [0o600]


def test_two_equal_contents_look_different(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    before = file_store.path.read_bytes()
    file_store.put(USER, tokens(1))
    assert file_store.path.read_bytes() != before


@pytest.mark.parametrize("key", [b"", b"no key at all", b"A" * 43 + b"="])
def test_another_key_is_an_error_that_says_so(file_store: FileTokenStore, key: bytes) -> None:
    file_store.put(USER, tokens(1))
    right = file_store.key_path.read_bytes()
    file_store.key_path.write_bytes(key)
    store = FileTokenStore(file_store.path, file_store.key_path)
    for use in (lambda: store.get(USER), lambda: store.put(OTHER, tokens(2)), lambda: store.delete(USER)):
        with pytest.raises(TokenStoreError, match=r"put the right (key|one) back$"):
            use()
    file_store.key_path.write_bytes(right)
    assert FileTokenStore(file_store.path, file_store.key_path).get(USER) == tokens(1)


def test_a_missing_key_is_an_error_that_says_so_and_no_new_one_is_made(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    file_store.key_path.unlink()
    store = FileTokenStore(file_store.path, file_store.key_path)
    for use in (lambda: store.get(USER), lambda: store.put(OTHER, tokens(2))):
        with pytest.raises(TokenStoreError, match=r"tokens\.key is missing; put it back"):
            use()
    assert not file_store.key_path.exists()


def test_a_key_file_may_end_with_a_line_break(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    file_store.key_path.write_bytes(file_store.key_path.read_bytes() + b"\n")
    assert FileTokenStore(file_store.path, file_store.key_path).get(USER) == tokens(1)


def test_a_row_moved_to_another_user_is_not_taken(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    file_store.put(OTHER, tokens(2))
    with file_store._database() as database:
        name, other = file_store._name(USER), file_store._name(OTHER)
        database.execute(
            "UPDATE tokens SET value = (SELECT value FROM tokens WHERE name = ?) WHERE name = ?", (name, other)
        )
    with pytest.raises(TokenStoreError, match="put the right key back"):
        file_store.get(OTHER)
    assert file_store.get(USER) == tokens(1)


def test_reading_makes_no_file(file_store: FileTokenStore, tmp_path: Path) -> None:
    assert file_store.get(USER) is None
    file_store.delete(USER)
    assert list(tmp_path.iterdir()) == []


def test_stores_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def put(number: int) -> None:
        store = FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "tokens.key")
        together.wait()
        store.put(f"user-{number}", tokens(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    store = FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "tokens.key")
    assert [store.get(f"user-{number}") for number in range(8)] == [tokens(number) for number in range(8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokens.key", "tokens.sqlite"]


def test_a_key_that_another_process_made_meanwhile_is_the_key(
    file_store: FileTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Fernet.generate_key(), Fernet.generate_key()

    def too_late() -> bytes:
        file_store.key_path.write_bytes(first)
        return second

    monkeypatch.setattr(Fernet, "generate_key", too_late)
    file_store.put(USER, tokens(1))
    assert file_store.key_path.read_bytes() == first
    assert FileTokenStore(file_store.path, file_store.key_path).get(USER) == tokens(1)


def test_a_file_that_cannot_be_written_is_an_error_in_one_line(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    file_store.path.write_bytes(b"this is not a database, and long enough to be sure of it" * 100)
    with pytest.raises(TokenStoreError, match=r"tokens\.sqlite could not be read or written: DatabaseError$"):
        file_store.get(USER)


# -- Secrets Manager


def test_a_secret_is_named_by_a_hash_and_encrypted_with_the_given_key(secrets_manager: SecretsManager) -> None:
    SecretsManagerTokenStore("some/prefix/", "key-1", secrets_manager).put(USER, tokens(1))
    SecretsManagerTokenStore("some/prefix/", "", secrets_manager).put(OTHER, tokens(2))
    names = [f"some/prefix/{hashlib.sha256(user.encode()).hexdigest()}" for user in (USER, OTHER)]
    assert list(secrets_manager.secrets) == names
    assert secrets_manager.keys == ["key-1", ""]


def test_the_lease_of_a_killed_lambda_ends_by_itself(secrets_manager: SecretsManager) -> None:
    at, slept = {"now": NOW}, []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        at["now"] += 10

    def store() -> SecretsManagerTokenStore:
        return SecretsManagerTokenStore(client=secrets_manager, clock=lambda: at["now"], sleep=sleep)

    store().put(USER, tokens(1))
    killed = store().locked(USER)
    killed.__enter__()
    with store().locked(USER):
        assert at["now"] >= NOW + tokens_module.LEASE_S
        killed.__exit__(None, None, None)  # not killed after all: it must not end the lease of another
        assert json.loads(secrets_manager.get_secret_value(SecretId=store()._id(USER))["SecretString"])["lease"]
    assert len(slept) == 6
    assert store().get(USER) == tokens(1)


@pytest.mark.parametrize("content", ["", "7", "{}", '{"access_token": "x"}', "no json"])
def test_a_secret_that_holds_no_tokens_asks_for_consent_and_is_good_again_after_it(
    secrets_manager: SecretsManager, content: str
) -> None:
    store = SecretsManagerTokenStore(client=secrets_manager)
    secrets_manager.create_secret(Name=store._id(USER), SecretString=content)
    with pytest.raises(ConsentNeededError, match="again"):
        access(store, Garmin()).for_user(USER)
    store.put(USER, tokens(1))
    assert access(store, Garmin()).for_user(USER) == "access-1-secret"


def test_what_secrets_manager_refuses_is_an_error_without_its_message(secrets_manager: SecretsManager) -> None:
    def refuse(**_arguments: Any) -> None:
        raise _refusal("AccessDeniedException")

    secrets_manager.get_secret_value = refuse  # type: ignore[method-assign]
    with pytest.raises(TokenStoreError, match="^Secrets Manager refused get_secret_value: AccessDeniedException$"):
        SecretsManagerTokenStore(client=secrets_manager).get(USER)


def test_a_secret_that_others_change_all_the_time_is_given_up(secrets_manager: SecretsManager) -> None:
    store = SecretsManagerTokenStore(client=secrets_manager)
    store.put(USER, tokens(1))

    def lose(**_arguments: Any) -> None:
        raise _refusal("ResourceExistsException")

    secrets_manager.put_secret_value = lose  # type: ignore[method-assign]
    with pytest.raises(TokenStoreError, match="try again"):
        store.put(USER, tokens(2))


# -- messages


def test_tokens_are_shown_to_nobody(file_store: FileTokenStore) -> None:
    file_store.put(USER, tokens(1))
    for one in (tokens(1), file_store, access(file_store, Garmin()), SecretsManagerTokenStore()):
        assert not any(private in repr(one) for private in ("access-", "refresh-", "-secret", USER))
