"""The contract of a notifier on mail."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qol_dagster.resources.notifier import SmtpNotifier
from qol_dagster.settings import Settings
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import notifier as contract
from qol_dagster_tests.support.contracts.notifier import Outlet
from qol_dagster_tests.support.mail import AcceptsAnybody, Inbox, certificate, mail_server

globals().update(contract_tests(contract))


@pytest.fixture
def outlet(inbox: tuple[Inbox, int]) -> Outlet:
    mails, port = inbox
    to = Settings(
        smtp_host="127.0.0.1", smtp_port=port, smtp_starttls=False, mail_from="a@example.org", mail_to=("b@x.org",)
    )
    return Outlet(
        SmtpNotifier(to),
        SmtpNotifier(replace(to, smtp_port=1)),
        lambda: [(str(one["Subject"]), one.get_content()) for one in mails.mails],
    )


PASSWORD = "hunter2-hunter2"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Inbox, AcceptsAnybody, Settings, Path]]:
    """A server that offers TLS, with whom it let in, the settings for it, and the file of its certificate."""
    file, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    door = AcceptsAnybody()
    with mail_server(tls_context=context, authenticator=door, auth_require_tls=False) as (inbox, port):
        to = Settings(
            smtp_host="127.0.0.1", smtp_port=port, smtp_user="me", smtp_password=PASSWORD,
            mail_from="a@example.org", mail_to=("b@x.org",),
        )  # fmt: skip
        yield inbox, door, to, file


def test_a_mail_server_is_believed_when_its_certificate_is_one_that_the_machine_trusts(
    guarded: tuple[Inbox, AcceptsAnybody, Settings, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    inbox, door, to, file = guarded
    assert SmtpNotifier(to).send("subject", "body") is False
    assert (inbox.mails, door.seen) == ([], [])
    assert "SSLCertVerificationError" in caplog.text
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert SmtpNotifier(to).send("subject", "body") is True
    assert (len(inbox.mails), len(door.seen)) == (1, 1)
    assert SmtpNotifier(replace(to, smtp_host="localhost")).send("subject", "body") is False
    assert len(door.seen) == 1


def test_a_password_is_never_sent_in_clear(
    guarded: tuple[Inbox, AcceptsAnybody, Settings, Path], caplog: pytest.LogCaptureFixture
) -> None:
    inbox, door, to, _ = guarded
    assert SmtpNotifier(replace(to, smtp_starttls=False)).send("subject", "body") is False
    assert (inbox.mails, door.seen) == ([], [])
    assert "Set QOL_SMTP_STARTTLS=true" in caplog.text
    assert PASSWORD not in caplog.text
