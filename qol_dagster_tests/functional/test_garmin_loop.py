"""The whole way with Garmin's cloud: invited, connected, pinged, backfilled, gone; against the simulated one."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import dagster as dg
import pytest

import garmin_sim
from qol_dagster.cli.app import run
from qol_dagster.cli.demo import local_webhook
from qol_dagster.definitions import build_defs
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_ingest.server import LocalWebhook

SUNDAY = date(2026, 11, 22)
CLIENT_SECRET = "sim-secret-of-the-simulated-cloud"


class World:
    """A simulated cloud, a webhook that runs as `qol webhook serve` does, and a QOL_HOME."""

    def __init__(self, cloud: Any, server: LocalWebhook, settings: Settings) -> None:
        self.cloud, self.server, self.settings = cloud, server, settings
        self.garmin = Garmin(settings)

    def raw(self) -> dict[str, int]:
        """Number of raw records by type."""
        found: dict[str, int] = {}
        for path in self.settings.lake_dir.glob("raw/daily/*/*.jsonl"):
            for line in path.read_text().splitlines():
                kind = json.loads(line)["_summary_type"]
                found[kind] = found.get(kind, 0) + 1
        return found

    def connect(self, participant: str, url: str) -> int:
        """A participant's browser: opens the link, goes to Garmin, comes back. The last page's status."""
        cookie, form = "", ""
        for _ in range(6):
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
            headers = {"cookie": cookie} if cookie else {}
            connection.request("POST" if form else "GET", f"{parts.path}?{parts.query}", form or None, headers)
            response = connection.getresponse()
            text = response.read().decode()
            connection.close()
            if given := response.getheader("set-cookie"):
                cookie = given.split(";")[0]
            button = re.search('<form method="post" action="([^"]*)"', text)
            if button is None and response.status not in (302, 303):
                break
            form = urlencode(re.findall('name="([^"]*)" value="([^"]*)"', text)) if button else ""
            url = urljoin(url, button[1] if button else response.getheader("location") or "")
        return response.status


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    sim = garmin_sim.Simulation(2, 1, SUNDAY, seed=8)
    with garmin_sim.GarminCloud(sim, client_secret=CLIENT_SECRET, auto_consent=0) as cloud:
        given = {
            "QOL_GARMIN_CLIENT_ID": "sim-client",
            "QOL_GARMIN_CLIENT_SECRET": CLIENT_SECRET,
            "QOL_GARMIN_URL": cloud.base_url,
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        from qol_dagster.settings import load_settings

        with local_webhook(load_settings()) as server:
            monkeypatch.setenv("QOL_PUBLIC_URL", server.base_url)
            cloud.webhook_url = server.url
            found = World(cloud, server, load_settings())
            with found.garmin.at_work(server):
                yield found


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come to hold")


def statuses(world: World) -> list[str]:
    """What became of the participant, but for permissions."""
    return [one.what for one in world.garmin.id_map.history("QOL-1") if "permissions" not in one.what]


def connected(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["participants", "invite", "QOL-1"]) == 0
    url = capsys.readouterr().out.strip()
    assert world.connect("QOL-1", url) == 200


def test_an_invited_participant_connects_and_staff_sees_it_without_garmin_s_id(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(world, capsys)
    assert run(["participants", "show", "QOL-1"]) == 0
    shown = capsys.readouterr().out
    assert re.search("account 1: active, connected to Garmin; permissions: .*HEALTH_EXPORT.* \\(asked 20", shown)
    assert "invited" not in shown
    assert not any(user in shown for user in (world.cloud.user_id(0), world.cloud.user_id(1)))
    assert run(["participants", "show", "nobody"]) == 2


def test_nobody_is_invited_under_an_id_that_another_may_be_given_meanwhile(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["participants", "invite", "P0001"]) == 2
    assert "choose an id like QOL-001" in capsys.readouterr().err
    assert run(["participants", "add", world.cloud.user_id(1)]) == 0
    assert run(["participants", "invite", capsys.readouterr().out.strip()]) == 0  # a second account of hers


@pytest.mark.slow
def test_what_pings_announce_is_fetched_and_makes_the_same_rows_as_pushes(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(world, capsys)
    world.cloud.ping(["dailies", "sleeps", "epochs"])
    # The other participant's pings stay: a consent may come.
    until(lambda: world.raw().get("dailies", 0) >= 7 and world.raw().get("epochs", 0) > 600)
    assert run(["materialize", "--week", "2026-11-16"]) == 0
    assert "participants: 1" in capsys.readouterr().out
    steps = Lake.local(world.settings.lake_dir).read_table("weekly", SUNDAY - timedelta(days=6))
    assert steps is not None
    assert steps["steps_sum"].to_pylist()[0] > 0


def test_old_data_is_asked_for_once_and_comes_by_the_webhook(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    connected(world, capsys)
    ask = ["garmin", "backfill", "--participant", "QOL-1", "--since", "2026-11-16", "--until", "2026-11-22"]
    assert run([*ask, "--types", "dailies"]) == 0
    assert capsys.readouterr().out == "requests accepted: 1, accepted before: 0\n"
    world.cloud.settle(30)
    assert set(world.raw()) == {"dailies"}
    assert run([*ask, "--types", "dailies,hrv"]) == 0
    assert capsys.readouterr().out == "requests accepted: 1, accepted before: 1\n"
    assert run([*ask, "--types", "moods"]) == 2
    assert run([*ask[:2], "--participant", "nobody", *ask[4:]]) == 2


def test_dagster_has_a_job_for_it_that_may_be_repeated(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    connected(world, capsys)
    asked = {"participant": "QOL-1", "since": "2026-11-16", "until": "2026-11-22", "types": ["sleeps"]}
    config = {"ops": {"ask_garmin": {"config": asked}}, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dagster_instance(world.settings) as instance:
        job = build_defs(world.settings).resolve_job_def("garmin_backfill_job")
        counts = []
        for _ in range(2):
            done = job.execute_in_process(instance=instance, run_config=config)
            event = next(one for one in done.all_events if one.event_type == dg.DagsterEventType.STEP_OUTPUT)
            metadata = event.step_output_data.metadata
            counts.append((metadata["accepted"].value, metadata["accepted_before"].value))
    assert counts == [(1, 0), (0, 1)]


def test_who_leaves_at_garmin_is_out_of_the_tables_and_a_forged_message_is_seen_through(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(world, capsys)
    user = world.cloud.user_id(0)
    world.cloud.forge_deregistration(0)
    until(lambda: statuses(world) == ["active", "deregistered", "active"])
    time.sleep(1.1)  # the same bytes again, in another second
    world.cloud.deregister(0)
    until(lambda: statuses(world) == ["active", "deregistered", "active", "deregistered"])
    assert IdMap(world.settings.id_map_path).identities().revoked == {user}
    until(lambda: world.garmin.tokens.get(user) is None)


def test_revoking_at_garmin_too_ends_the_registration(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    connected(world, capsys)
    assert run(["participants", "revoke", "QOL-1", "--at-garmin"]) == 0
    assert [count for (kind, status), count in world.cloud.requests.items() if status == 204] == [1]
    assert world.garmin.tokens.get(world.cloud.user_id(0)) is None
    assert run(["participants", "revoke", "QOL-1", "--at-garmin"]) == 1  # nothing is left to end it with


def test_revoking_forgets_the_tokens_unless_they_are_to_be_kept(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(world, capsys)
    user = world.cloud.user_id(0)
    assert run(["participants", "revoke", "QOL-1", "--keep-tokens"]) == 0
    assert world.garmin.tokens.get(user) is not None
    assert run(["participants", "revoke", "QOL-1", "--keep-tokens", "--at-garmin"]) == 2
    assert run(["participants", "revoke", "QOL-1"]) == 0
    assert world.garmin.tokens.get(user) is None
    assert world.cloud.requests["user/registration", 204] == 0


def test_a_pull_whose_tokens_cannot_be_read_says_what_it_did_and_fails(
    world: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(world, capsys)
    (settings.home / "tokens.key").unlink()
    assert run(["garmin", "pull"]) == 1
    told = capsys.readouterr()
    assert told.out == "nothing to do\n"
    assert re.fullmatch(
        r"qol: tokens that end soon are not renewed: .*tokens\.key is missing; put it back.*\n", told.err
    )


def test_without_garmin_s_keys_commands_say_what_to_set(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["participants", "invite", "QOL-1"]) == 2
    assert "set QOL_PUBLIC_URL" in capsys.readouterr().err
    assert run(["garmin", "pull"]) == 2
    assert "set QOL_GARMIN_CLIENT_ID and QOL_GARMIN_CLIENT_SECRET" in capsys.readouterr().err
