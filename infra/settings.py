"""What differs between deployments: one frozen object, read once from the context of the CDK app.

Belongs here: names, defaults and the checking of every setting. All problems are named in one error. No secret is a
setting: those are put into Secrets Manager after the first deployment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qol_dagster.errors import QolInputError
from qol_dagster.settings import Settings


class DeploySettingsError(QolInputError):
    """One or more settings are wrong; the message names each of them."""


@dataclass(frozen=True)
class DeploySettings:
    """A deployment. The key of a field in the context is its name; those without a default are needed.

    `alert_mail` hears of failures, with commas between addresses. `dagster_url` is where the weekly start finds
    Dagster. With `dagster_certificate_arn`, Dagster is hosted here under that address, from the image of
    `dagster_image_tag`. `public_domain` is what Garmin and participants call the API, with `public_certificate_arn`;
    without it, they use the address that AWS gives. `start_date` is the Monday of the first week. `glue_workers` is how
    many machines compute a week, one of which leads. `garmin_url` is another cloud than Garmin's. `emulated` leaves out
    what an emulated AWS lacks.
    """

    alert_mail: tuple[str, ...]
    garmin_client_id: str
    dagster_url: str
    dagster_certificate_arn: str = ""
    dagster_image_tag: str = ""
    public_domain: str = ""
    public_certificate_arn: str = ""
    programme_ja: str = ""
    programme_en: str = ""
    contact: str = ""
    start_date: date = Settings().start_date
    glue_workers: int = 2
    garmin_url: str = ""
    glue_bundle: Path = Path("build/glue")
    emulated: bool = False

    @property
    def hosts_dagster(self) -> bool:
        """Whether Dagster runs here, rather than somewhere else."""
        return bool(self.dagster_certificate_arn)


def read_settings(context: Mapping[str, Any]) -> DeploySettings:
    """Settings from a context; CDK's own keys in it are passed over. Raises DeploySettingsError naming all problems."""
    given = {key: value for key, value in context.items() if not re.search("[:/]", key) and value not in ("", None)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        reader = _READERS.get(name)
        if reader is None:
            problems.append(_unknown(name))
            continue
        try:
            values[name] = reader(str(value).strip())
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += [f"{name} is needed" for name in _NEEDED if name not in given] + _pair_problems(values)
    if problems:
        raise DeploySettingsError("settings of the deployment are wrong: " + "; ".join(problems))
    return DeploySettings(**values)


def _pair_problems(values: Mapping[str, Any]) -> list[str]:
    problems = [
        f"{one} is needed with {other}"
        for pair in (("public_domain", "public_certificate_arn"), ("dagster_certificate_arn", "dagster_image_tag"))
        for one, other in (pair, pair[::-1])
        if other in values and one not in values
    ]
    url = urlsplit(values.get("dagster_url", "https://dagster"))
    if "dagster_certificate_arn" in values and (url.scheme != "https" or url.port or url.path):
        problems.append("dagster_url must be like https://dagster.example.org to host Dagster there")
    return problems


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _READERS, n=1)
    return f"{name} is no setting" + (f", did you mean {near[0]}?" if near else "")


def _like(pattern: str, what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {what}, not {text!r}")
        return text

    return read


def _mails(text: str) -> tuple[str, ...]:
    mails = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", mail) for mail in mails):
        raise ValueError("must be mail addresses with commas between them")
    return mails


def _monday(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date like 2026-04-06, not {text!r}") from None
    if day.weekday() != 0:
        raise ValueError(f"must be a Monday, and {day} is none")
    return day


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def _switch(text: str) -> bool:
    known = {"true": True, "false": False}
    if text.lower() not in known:
        raise ValueError(f"must be true or false, not {text!r}")
    return known[text.lower()]


_url = _like(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s?#]*[^\s?#/])?", "an address like https://dagster.example.org"
)
_domain = _like(r"[a-z0-9-]+(\.[a-z0-9-]+)+", "a host name like qol.example.org")
_certificate = _like(
    r"arn:aws:acm:ap-northeast-1:[0-9]{12}:certificate/[0-9a-f-]+", "the ARN of a certificate in ap-northeast-1"
)

_READERS: dict[str, Callable[[str], Any]] = {
    "alert_mail": _mails,
    "garmin_client_id": _like(r"\S+", "an id without spaces"),
    "dagster_url": _url,
    "dagster_certificate_arn": _certificate,
    "dagster_image_tag": _like(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "the tag of an image, such as 0.1.0"),
    "public_domain": _domain,
    "public_certificate_arn": _certificate,
    "programme_ja": str,
    "programme_en": str,
    "contact": str,
    "start_date": _monday,
    "glue_workers": _number(2, 100),
    "garmin_url": _url,
    "glue_bundle": Path,
    "emulated": _switch,
}
_NEEDED = tuple(item.name for item in fields(DeploySettings) if item.default is MISSING)

if list(_READERS) != [item.name for item in fields(DeploySettings)]:
    raise AssertionError("every setting has one reader and every reader one setting")
