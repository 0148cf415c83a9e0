"""The contract of a notifier on mail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qol_dagster.resources.notifier import SmtpNotifier
from qol_dagster.settings import Settings
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import notifier as contract
from qol_dagster_tests.support.contracts.notifier import Outlet
from qol_dagster_tests.support.mail import Inbox

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
