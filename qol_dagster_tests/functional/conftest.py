"""What functional tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qol_dagster_tests.support.mail import Inbox, mail_server


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A mail server's inbox and port."""
    with mail_server() as server:
        yield server
