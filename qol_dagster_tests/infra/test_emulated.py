"""The templates on an emulated AWS: deployed piece by piece, a push all the way to the queue, and a questionnaire."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from emulated_aws.deployment import Deployment, deploy
from emulated_aws.server import Emulator
from qol_dagster.cli.app import run
from qol_dagster.lake.surveys import read_sendings
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import load_settings
from qol_dagster_tests.support.templates import System
from qol_ingest.shared import aws
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.survey.links import SurveyLinks

pytestmark = [pytest.mark.aws, pytest.mark.usefixtures("cloud")]

USER = "4aacafe82427c251df9c9592d0c06768"
BODY = json.dumps({"dailies": [{"userId": USER, "calendarDate": "2026-11-16"}]})


def until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def deployment(_emulator: Emulator, emulated: System) -> Deployment:
    return deploy(_emulator, emulated.folder)


def test_a_push_through_the_deployed_api_lies_in_the_lake_and_is_told_to_the_queue(
    deployment: Deployment,
) -> None:
    outputs, secret = deployment.outputs, deployment.webhook_url.rpartition("/")[2]
    host, port = urlsplit(outputs["PublicUrl"]).netloc, urlsplit(deployment.emulator.url).port

    def answer(path: str) -> int:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", path, BODY, {"Host": host, "garmin-client-id": "the-client-id"})
            return connection.getresponse().status

    assert answer("/garmin/wrong") == 403
    assert answer(f"/garmin/{secret}") == 200
    (raw,) = aws.client("s3").list_objects_v2(Bucket=outputs["LakeName"], Prefix="raw/daily/")["Contents"]
    assert raw["Key"].startswith("raw/daily/date=2026-11-16/")
    (user,) = DynamoIdMap("user_id_map").list()
    assert (user.garmin_user_id, user.status) == (USER, "pending")
    told: list[str] = []

    def heard() -> bool:
        answer = aws.client("sqs").receive_message(QueueUrl=outputs["ArrivalsUrl"], MaxNumberOfMessages=10)
        told.extend(one["Body"] for one in answer.get("Messages", ()))
        return any(raw["Key"].rpartition("/")[2] in one for one in told)

    until(heard)
    assert json.loads(aws.client("lambda").invoke(FunctionName="qol-spill-drain")["Payload"].read()) == {
        "stored": 0,
        "waiting": 0,
    }
    glue = aws.client("glue")
    run = glue.start_job_run(JobName="qol-weekly-etl", Arguments={"--weeks": "2026-11-16"})["JobRunId"]
    until(lambda: glue.get_job_run(JobName="qol-weekly-etl", RunId=run)["JobRun"]["JobRunState"] == "SUCCEEDED")
    assert {one["Name"] for one in aws.client("scheduler").list_schedules()["Schedules"]} == {
        "qol-spill-drain-schedule",
        "qol-tokens-schedule",
        "qol-weekly-schedule",
        "qol-noon-schedule",
    }


def test_a_form_is_answered_page_by_page_through_the_deployed_api_interrupted_resumed_and_dead_once_revoked(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**deployment.environment, "QOL_HOME": str(tmp_path), "QOL_PUBLIC_URL": "https://qol.example.org"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    base, port = urlsplit(deployment.public_url).path, urlsplit(deployment.emulator.url).port
    assert base.startswith("/_aws/"), "what the pages of the deployment do not know of"
    platform = open_platform(load_settings())
    for number in (1, 2):
        platform.id_map().add(f"garmin-{number}", f"P{number}")

    def qol(*arguments: str) -> str:
        assert run([*arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    def ask(method: str, path: str, **form: str) -> tuple[int, str, str]:
        """What is answered to a browser: the status, where it leads (below the address of the API), and the page."""
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Language": "en"}
            connection.request(method, f"{base}{path}", urlencode(form) or None, headers)
            answer = connection.getresponse()
            page = answer.read().decode()
            leads = answer.headers.get("location") or "".join(re.findall(r'<form[^>]* action="([^"]*)"', page))
            where = urljoin(f"{base}{path}", leads)
            assert where.startswith(base), "it leads out of the API"
            return answer.status, where.removeprefix(base), page

    def invited(person: str) -> str:
        link = qol("survey", "invite", person, "--wave", "0").splitlines()[1].split(",")[2]
        assert link.startswith("https://qol.example.org/survey?code=")
        return parse_qs(urlsplit(link).query)["code"][0]

    assert run(["survey", "invite", "P1", "--wave", "0"]) == 2, "no link to a form that cannot be shown"
    assert "qol survey upload" in capsys.readouterr().err
    qol("survey", "template", "--lang", "en")
    assert qol("survey", "upload") == "en  version placeholder, 26 items\n" == qol("survey", "check")
    code = invited("P1")
    assert ask("GET", f"/survey?code={code}")[0] == 200
    assert ask("GET", f"/survey?code={code}&page=1")[:2] == (200, "/survey")
    first = {f"q{item}": "4" for item in range(1, 6)}
    status, place, _ = ask("POST", "/survey", code=code, page="1", lang="en", **first)
    assert (status, place) == (303, f"/survey?code={code}&lang=en")
    assert [dict(one.answers) for one in read_sendings(platform.lake()).sendings] == [dict.fromkeys(range(1, 6), 4)]
    # Another day, another telephone: the link opens the page that comes next.
    status, _, page = ask("GET", f"/survey?code={code}")
    assert (status, 'name="q6"' in page, 'name="q1"' in page) == (200, True, False)
    for number, items in enumerate((range(6, 11), range(11, 16), range(16, 21), range(21, 27)), start=2):
        status, place, _ = ask("POST", "/survey", code=code, page=str(number), **{f"q{item}": "2" for item in items})
        assert status == 303
    assert place.startswith("/survey/done")
    assert ask("GET", place)[0] == 200
    stored = {item: mark for one in read_sendings(platform.lake()).sendings for item, mark in one.answers.items()}
    assert stored == {item: 4 if item < 6 else 2 for item in range(1, 27)}
    assert ask("GET", f"/survey?code={code}")[0] == 410
    links = SurveyLinks(platform.enrolment_state())
    assert links.finished() == {("P1", 0)}
    other = invited("P2")
    qol("participants", "revoke", "P2")
    assert ask("GET", f"/survey?code={other}")[0] == 410
    assert ask("POST", "/survey", code=other, page="1", **first)[0] == 410
    assert {one.participant_id for one in read_sendings(platform.lake()).sendings} == {"P1"}
    assert links.linked() == set()
