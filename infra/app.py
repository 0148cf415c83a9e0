"""The app: all stacks together, in the order in which they are deployed, and checked by the rules of cdk-nag.

Belongs here: which stacks there are, and where settings come from. `make synth` and `make deploy` run this file.

    python -m infra.app [SETTINGS.json]

writes the templates into `build/cdk.out`, or where CDK's command line says. The settings are the CDK context of that
file, by default the example; whatever `cdk --context` says goes before it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment, Validations
from cdk_nag import AwsSolutionsChecks

from infra.data import DataStack
from infra.etl import EtlStack
from infra.functions import ROOT
from infra.hosting import HostingStack
from infra.ingest import IngestStack
from infra.names import REGION
from infra.ops import OpsStack
from infra.settings import read_settings

HERE = Path(__file__).parent
EXAMPLE = HERE / "settings.example.json"


def build(context: Mapping[str, Any], out: Path) -> App:
    """Return the app for the settings in a context, with its templates going to `out`. Raises DeploySettingsError."""
    flags = json.loads((HERE / "cdk.json").read_text())["context"]
    app = App(outdir=str(out), context={**flags, **context}, analytics_reporting=False)
    settings = read_settings(app.node.get_all_context())
    japan = Environment(region=REGION)
    data = DataStack(app, "QolData", env=japan)
    ingest = IngestStack(app, "QolIngest", settings, data, env=japan)
    etl = EtlStack(app, "QolEtl", settings, data, env=japan)
    ops = OpsStack(app, "QolOps", settings, data, ingest, env=japan)
    ops.add_stack_dependency(etl)
    if settings.hosts_dagster:
        HostingStack(app, "QolHosting", settings, data, ops, env=japan)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, write_suppressions_to_cloud_formation=True))
    return app


def main(arguments: list[str]) -> int:
    """Write the templates; 1 and a line on what is wrong if that cannot be done."""
    file = Path(arguments[0]) if arguments else EXAMPLE
    try:
        app = build(json.loads(file.read_text()), Path(os.environ.get("CDK_OUTDIR", ROOT / "build/cdk.out")))
    except (OSError, ValueError) as error:
        print(f"{file}: {error}", file=sys.stderr)  # noqa: T201 - a program, whose words go to a person
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
