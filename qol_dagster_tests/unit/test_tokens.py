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
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import tokens as contract
from qol_dagster_tests.support.contracts.tokens import NOW, OTHER, USER, Garmin, access, tokens
from qol_ingest.garmin.tokens import ConsentNeededError, TokenStore, TokenStoreError
from qol_ingest.garmin.tokens_aws import LEASE_S, SecretsManagerTokenStore
from qol_ingest.garmin.tokens_file import FileTokenStore

globals().update(contract_tests(contract))


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


PROCESS = """
import os, sys, time
from pathlib import Path
from qol_ingest.garmin.tokens import AccessTokens, Tokens
from qol_ingest.garmin.tokens_file import FileTokenStore

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
        assert at["now"] >= NOW + LEASE_S
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
