"""How people are told of a failure: by mail, and in the log.

Belongs here: the port and its forms. What a message says is `alerts.py`'s. A notifier that is broken says so in the
log and never raises.
"""

from __future__ import annotations

import logging
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

logger = logging.getLogger("qol_dagster.alerts")

SMTP_TIMEOUT_S = 20


class Notifier(Protocol):
    """Tells people; gives whether the message is out."""

    def send(self, subject: str, body: str) -> bool:
        """Send one message."""


@dataclass(frozen=True)
class LogNotifier:
    """For a deployment without mail: the message stands in the log."""

    def send(self, subject: str, body: str) -> bool:
        """Write the message at level ERROR."""
        logger.error("%s\n%s", subject, body)
        return True


@dataclass(frozen=True)
class SmtpNotifier:
    """One mail to all of QOL_MAIL_TO."""

    settings: Settings

    def send(self, subject: str, body: str) -> bool:
        """Send the mail. When that fails, the log has the message and the reason."""
        message = EmailMessage()
        message["Subject"] = " ".join(subject.split())
        message["From"] = self.settings.mail_from
        message["To"] = ", ".join(self.settings.mail_to)
        message.set_content(body)
        try:
            self._deliver(message)
        except Exception as error:
            # The error may quote the server, never the message; the password is not in it.
            logger.error("the alert mail could not be sent (%s)", type(error).__name__)  # noqa: TRY400
            LogNotifier().send(subject, body)
            return False
        return True

    def _deliver(self, message: EmailMessage) -> None:
        to = self.settings
        with smtplib.SMTP(to.smtp_host, to.smtp_port, timeout=SMTP_TIMEOUT_S) as server:
            if to.smtp_starttls:
                server.starttls()
            if to.smtp_user:
                server.login(to.smtp_user, to.smtp_password)
            server.send_message(message)
