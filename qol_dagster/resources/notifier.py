"""How people are alerted to a failure: by mail, by SNS, and in the log.

Belongs here: the port and its forms. What a message says is `alerts.py`'s. A notifier that is broken says so in the
log and never raises.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol

from qol_dagster.errors import QolError

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

logger = logging.getLogger("qol_dagster.defs.alerts")

SMTP_TIMEOUT_S = 20
PORT_OF_TLS = 465
"""On which mail servers speak TLS from the first byte on."""
TAG = "[qol] "
"""By which people sort mail of ours."""
LONGEST_SUBJECT = 100
"""What SNS takes, of ASCII characters."""


class MailError(QolError):
    """Mail cannot be sent with these settings."""


class Notifier(Protocol):
    """Notifies people; returns whether the message is out."""

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
        message["Subject"] = _one_line(subject)
        message["From"] = self.settings.mail_from
        message["To"] = ", ".join(self.settings.mail_to)
        message.set_content(body)
        return _sent_or_logged(lambda: self._deliver(message), subject, body)

    def _deliver(self, message: EmailMessage) -> None:
        to = self.settings
        require_encryption(to)
        verified = ssl.create_default_context()
        with _connected(to, verified) as server:
            if to.smtp_starttls and to.smtp_port != PORT_OF_TLS:
                server.starttls(context=verified)
            if to.smtp_user:
                server.login(to.smtp_user, to.smtp_password)
            server.send_message(message)


def require_encryption(settings: Settings) -> None:
    """Raise MailError for a password that would be sent in clear."""
    encrypted = settings.smtp_starttls or settings.smtp_port == PORT_OF_TLS
    if settings.smtp_user and not encrypted:
        raise MailError(
            "the password of QOL_SMTP_USER is not sent over an unencrypted connection",
            advice="Set QOL_SMTP_STARTTLS=true, or unset QOL_SMTP_USER if the server wants no password",
        )


def _connected(settings: Settings, verified: ssl.SSLContext) -> smtplib.SMTP:
    host, port = settings.smtp_host, settings.smtp_port
    if port == PORT_OF_TLS:
        return smtplib.SMTP_SSL(host, port, timeout=SMTP_TIMEOUT_S, context=verified)
    return smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_S)


@dataclass(frozen=True)
class SnsNotifier:
    """One message to a topic, which AWS mails to everybody who subscribed to it."""

    topic_arn: str

    def send(self, subject: str, body: str) -> bool:
        """Publish the message. When that fails, the log has the message and the reason."""
        return _sent_or_logged(lambda: self._publish(subject, body), subject, body)

    def _publish(self, subject: str, body: str) -> None:
        from qol_ingest.shared import aws

        plain = _ascii(_one_line(subject))[:LONGEST_SUBJECT]
        aws.client("sns").publish(TopicArn=self.topic_arn, Subject=plain, Message=body)


def _sent_or_logged(send: Callable[[], object], subject: str, body: str) -> bool:
    try:
        send()
    except Exception as error:
        # An error of ours quotes nothing; any other may quote the server.
        why = str(error) if isinstance(error, QolError) else type(error).__name__
        logger.error("the alert could not be sent (%s)", why)  # noqa: TRY400
        LogNotifier().send(subject, body)
        return False
    return True


def _ascii(subject: str) -> str:
    """Return of a subject in several languages, " / " between them, the one that SNS takes."""
    tag = TAG if subject.startswith(TAG) else ""
    parts = [part for part in subject.removeprefix(tag).split(" / ") if part.isascii()]
    return tag + " / ".join(parts) if parts else subject.encode("ascii", "replace").decode()


def _one_line(text: str) -> str:
    return " ".join(text.split())
