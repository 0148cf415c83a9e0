"""The contract of a token store, as `unit/` tells it, kept by Secrets Manager itself."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import tokens as contract
from qol_dagster_tests.support.contracts.tokens import OTHER, USER, tokens
from qol_ingest.garmin.tokens import TokenStore, TokenStoreError
from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore, read_secret
from qol_ingest.shared import aws

pytestmark = pytest.mark.aws

# AWS refuses another content under a request token that it has seen, and these need that; the emulator overwrites.
# `unit/` holds them to a form in memory that does what AWS documents.
NEED_THE_REFUSAL = {
    "test_of_many_who_replace_the_same_tokens_one_succeeds",
    "test_a_lock_keeps_others_out_for_one_user_and_not_for_another",
    "test_twenty_threads_with_an_expired_token_refresh_it_once",
}

# Whatever else every store does is collected here once more, with the store below.
globals().update(contract_tests(contract, without=NEED_THE_REFUSAL))


@pytest.fixture
def prefix(cloud: Cloud) -> str:
    """A place of its own for this test's secrets."""
    return f"qol-{secrets.token_hex(6)}/"


@pytest.fixture
def new_store(prefix: str) -> Callable[[], TokenStore]:
    """Gives a new object for the same secrets, as another Lambda has it."""
    client = aws.client("secretsmanager")
    return lambda: SecretsManagerTokenStore(prefix, client=client, sleep=lambda _seconds: time.sleep(0.02))


def test_the_contract_was_found() -> None:
    assert len([name for name in globals() if name.startswith("test_") and hasattr(contract, name)]) >= 12


def test_the_emulator_still_lacks_what_the_tests_left_out_need(cloud: Cloud, prefix: str) -> None:
    assert set(vars(contract)) >= NEED_THE_REFUSAL
    client, token = aws.client("secretsmanager"), secrets.token_hex(16)
    client.create_secret(Name=f"{prefix}x", SecretString="0")
    for content in "12":
        client.put_secret_value(SecretId=f"{prefix}x", SecretString=content, ClientRequestToken=token)
    assert client.get_secret_value(SecretId=f"{prefix}x")["SecretString"] == "2", "it refuses now: leave none out"


def test_a_new_lambda_makes_its_own_client_and_finds_what_another_kept(prefix: str) -> None:
    SecretsManagerTokenStore(prefix).put(USER, tokens(1))
    assert SecretsManagerTokenStore(prefix).get(USER) == tokens(1)


def test_tokens_that_were_deleted_can_be_kept_anew_at_once_and_leave_nothing(prefix: str) -> None:
    store = SecretsManagerTokenStore(prefix)
    store.put(USER, tokens(1))
    store.delete(USER)
    listed = aws.client("secretsmanager").list_secrets(IncludePlannedDeletion=True)["SecretList"]
    assert [one["Name"] for one in listed if one["Name"].startswith(prefix)] == []
    store.put(USER, tokens(2))
    assert store.get(USER) == tokens(2)


def test_a_secret_is_named_by_a_hash_and_says_nothing_else_of_its_user(prefix: str) -> None:
    store = SecretsManagerTokenStore(prefix)
    for user in (USER, OTHER):
        store.put(user, tokens(1))
        store.put(user, tokens(2))
    listed = aws.client("secretsmanager").list_secrets()["SecretList"]
    ours = [one for one in listed if one["Name"].startswith(prefix)]
    assert {one["Name"] for one in ours} == {
        prefix + hashlib.sha256(user.encode()).hexdigest() for user in (USER, OTHER)
    }
    assert not any(private in str(ours) for private in (USER, OTHER, "-secret"))


def test_a_secret_that_is_not_there_is_a_clear_error(prefix: str) -> None:
    with pytest.raises(TokenStoreError, match="^Secrets Manager refused get_secret_value: ResourceNotFoundException$"):
        read_secret(f"{prefix}nothing")
