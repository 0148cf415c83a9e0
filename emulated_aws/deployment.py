"""The templates of `infra/` on the emulator: synthesised, deployed stack by stack, and what is known of the result.

Belongs here: what CDK's command line does for a real account, and the few things that differ on an emulated one.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulated_aws.server import REGION, Emulator, EmulatorError
from infra import names

ROOT = Path(__file__).parents[1]
CONTEXT = {
    "emulated": True,
    "alert_mail": "qol-alerts@example.org",
    "garmin_client_id": "sim-client",
    "dagster_url": "http://127.0.0.1:3000",
}
"""The settings of the deployment; the client id is that of the simulated Garmin cloud."""
STACKS = ("QolData", "QolIngest", "QolEtl", "QolOps")
"""All but Dagster's own, in the order in which they need each other."""
DEPLOY_S = 60.0


@dataclass(frozen=True)
class Deployment:
    """The system on an emulator. `outputs` is what the stacks say of themselves."""

    emulator: Emulator
    outputs: Mapping[str, str]

    @property
    def webhook_url(self) -> str:
        """Where Garmin pushes to, with its secret."""
        secret = self.emulator.client("secretsmanager").get_secret_value(SecretId=names.WEBHOOK_SECRET)
        return f"{self.public_url}/garmin/{secret['SecretString']}"

    @property
    def public_url(self) -> str:
        """The HTTP API. On AWS its id is a part of the host's name; a loopback address has no such part."""
        api_id = self.outputs["PublicUrl"].partition("://")[2].partition(".")[0]
        return f"{self.emulator.url}/_aws/execute-api/{api_id}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes `qol` and Dagster work on it: as the deployment names it to staff, and the way there."""
        parameter = self.emulator.client("ssm").get_parameter(Name=names.SETTINGS)["Parameter"]["Value"]
        settings = dict(pair.split("=", 1) for pair in parameter.split())
        return {**settings, **self.emulator.environment, "QOL_PUBLIC_URL": self.public_url}


def synthesise(folder: Path, bundle: Path) -> subprocess.Popen[bytes]:
    """Begin to write the templates into a folder, with the weekly job's bundle: `synthesised` waits for that."""
    folder.mkdir(parents=True, exist_ok=True)
    context = folder / "context.json"
    context.write_text(json.dumps({**CONTEXT, "glue_bundle": str(bundle)}))
    command = [sys.executable, "-m", "infra.app", str(context)]
    environment = {**os.environ, "CDK_OUTDIR": str(folder)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def synthesised(process: subprocess.Popen[bytes]) -> None:
    """Wait for the templates. Raises EmulatorError."""
    _, complaints = process.communicate()
    if process.returncode:
        raise EmulatorError(f"the templates could not be made: {complaints.decode(errors='replace').strip()[-500:]}")


def deploy(emulator: Emulator, templates: Path) -> Deployment:
    """Deploy the templates in a folder to an emulator that has none of them yet. Raises EmulatorError."""
    bucket = _bootstrapped(emulator)
    outputs: dict[str, str] = {}
    for stack in STACKS:
        outputs |= _deployed(emulator, stack, _uploaded(emulator, bucket, templates, stack))
    # The one that the emulator makes has characters which the template rules out, and which mean something in a URL.
    secret = {"SecretId": names.WEBHOOK_SECRET, "SecretString": secrets.token_urlsafe(32)}
    emulator.client("secretsmanager").put_secret_value(**secret)
    return Deployment(emulator, outputs)


def _bootstrapped(emulator: Emulator) -> str:
    """Return what `cdk bootstrap` leaves behind, as far as templates ask for it; return the bucket of assets."""
    account = emulator.client("sts").get_caller_identity()["Account"]
    bucket = f"cdk-hnb659fds-assets-{account}-{REGION}"
    place = {"LocationConstraint": REGION}
    emulator.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    version = {"Name": "/cdk-bootstrap/hnb659fds/version", "Value": "30", "Type": "String"}
    emulator.client("ssm").put_parameter(**version)
    return bucket


def _uploaded(emulator: Emulator, bucket: str, templates: Path, stack: str) -> str:
    """Put a stack's assets into the bucket; return the address of its template, which is one of them."""
    template = ""
    for asset in json.loads((templates / f"{stack}.assets.json").read_text())["files"].values():
        (place,) = asset["destinations"].values()
        source = templates / asset["source"]["path"]
        emulator.client("s3").put_object(Bucket=bucket, Key=place["objectKey"], Body=_content(source))
        if source.name == f"{stack}.template.json":
            template = f"{emulator.url}/{bucket}/{place['objectKey']}"
    return template


def _content(source: Path) -> bytes:
    """Return a file as it is, a folder as an archive."""
    if source.is_file():
        return source.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(source))
    return packed.getvalue()


def _deployed(emulator: Emulator, stack: str, template_url: str) -> dict[str, str]:
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateURL=template_url, Capabilities=["CAPABILITY_NAMED_IAM"])
    until = time.monotonic() + DEPLOY_S
    found: dict[str, Any] = {}
    while time.monotonic() < until:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.05)
    if found["StackStatus"] != "CREATE_COMPLETE":
        why = found.get("StackStatusReason", "no reason is given")
        raise EmulatorError(f"{stack} is {found['StackStatus']}: {why}")
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
