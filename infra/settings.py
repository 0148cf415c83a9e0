"""What differs between deployments: one frozen object, read once from the context of the CDK app.

Belongs here: names, kinds and defaults of its settings, and which of them go together. All problems are named in one
error. No secret is a setting: those are put into Secrets Manager after the first deployment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from qol_dagster.errors import QolInputError
from qol_dagster.settings import Settings
from qol_dagster.settings.kinds import ClientId, Day, Folder, MailAddresses, SurveyPlan, Switch, Url, like, whole
from qol_dagster.settings.reading import read_fields
from qol_dagster.surveys.whoqol import RuleName


class DeploySettingsError(QolInputError):
    """One or more settings are wrong; the message names each of them."""


def _must_be_monday(day: date) -> date:
    if day.weekday() != 0:
        raise ValueError(f"must be a Monday, and {day} is none")
    return day


Monday = Annotated[Day, AfterValidator(_must_be_monday)]
Workers = Annotated[int, whole(2, 100)]
Domain = Annotated[str, like(r"[a-z0-9-]+(\.[a-z0-9-]+)+", "a host name like qol.example.org")]
ImageTag = Annotated[str, like(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "the tag of an image, such as 0.1.0")]
CertificateArn = Annotated[
    str,
    like(r"arn:aws:acm:ap-northeast-1:[0-9]{12}:certificate/[0-9a-f-]+", "the ARN of a certificate in ap-northeast-1"),
]


@dataclass(frozen=True)
class DeploySettings:
    """A deployment. The key of a field in the context is its name; those without a default are needed.

    `alert_mail` hears of failures, `report_mail` of each new weekly report, with commas between addresses; staff open
    `reports/` under `report_url`, if there is such an address. `dagster_url` is where the weekly start finds Dagster.
    With `dagster_certificate_arn`, Dagster is hosted here under that address, from the image of `dagster_image_tag`.
    `public_domain` is what Garmin and participants call the API, with `public_certificate_arn`; without it, they use
    the address that AWS gives. `survey_plan` and `survey_rule` say when questionnaires are due and how missing items
    count. `start_date` is the Monday of the first week. `glue_workers` is how many machines
    compute a week, one of which leads. `garmin_url` is another cloud than Garmin's. `emulated` leaves out what an
    emulated AWS lacks.
    """

    alert_mail: MailAddresses
    garmin_client_id: ClientId = field(repr=False)
    dagster_url: Url
    report_mail: MailAddresses = ()
    report_url: Url = ""
    dagster_certificate_arn: CertificateArn = ""
    dagster_image_tag: ImageTag = ""
    public_domain: Domain = ""
    public_certificate_arn: CertificateArn = ""
    programme_ja: str = ""
    programme_en: str = ""
    contact: str = ""
    survey_plan: SurveyPlan = Settings().survey_plan
    survey_rule: RuleName = Settings().survey_rule
    start_date: Monday = Settings().start_date
    glue_workers: Workers = 2
    garmin_url: Url = ""
    glue_bundle: Folder = Path("build/glue")
    emulated: Switch = False

    @property
    def hosts_dagster(self) -> bool:
        """Whether Dagster runs here, rather than somewhere else."""
        return bool(self.dagster_certificate_arn)


def read_settings(context: Mapping[str, Any]) -> DeploySettings:
    """Read settings from a context, passing over CDK's own keys; an empty one takes its default.

    Raises DeploySettingsError, which names every problem.
    """
    texts = {key: str(value).strip() for key, value in context.items() if value is not None}
    given = {key: text for key, text in texts.items() if text and not re.search("[:/]", key)}
    values, problems = read_fields(DeploySettings, given)
    needed = [item.name for item in fields(DeploySettings) if item.default is MISSING]
    problems += [f"{name} is needed" for name in needed if name not in given]
    problems += _unpaired(given) + _hosting_problems(values)
    if problems:
        raise DeploySettingsError("settings of the deployment are wrong: " + "; ".join(problems))
    return DeploySettings(**values)


def _unpaired(given: Collection[str]) -> list[str]:
    return [
        f"{one} is needed with {other}"
        for pair in (("public_domain", "public_certificate_arn"), ("dagster_certificate_arn", "dagster_image_tag"))
        for one, other in (pair, pair[::-1])
        if other in given and one not in given
    ]


def _hosting_problems(values: Mapping[str, Any]) -> list[str]:
    """Dagster is hosted at the root of a host of its own."""
    hosted = "dagster_certificate_arn" in values and "dagster_url" in values
    if hosted and not re.fullmatch("https://[^:/]+", values["dagster_url"]):
        return ["dagster_url must be like https://dagster.example.org to host Dagster there"]
    return []
