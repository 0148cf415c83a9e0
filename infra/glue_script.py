"""The script of the Glue job `qol-weekly-etl`: it opens the bundle it came with, and does the weekly job.

Belongs here: that, and nothing else. The bundle is the archive of `--extra-py-files`, which Spark has put on Python's
path as it is. Some of it is compiled, which Python loads from files only; so all of it is unpacked first.
"""

import importlib.util
import sys
import tempfile
import zipfile

found = importlib.util.find_spec("qol_dagster")
if found is None:
    raise SystemExit("this job has no bundle: run `make glue-bundle`, and deploy again")
if archive := getattr(found.loader, "archive", None):
    folder = tempfile.mkdtemp(prefix="qol-bundle-")
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(folder)
    sys.path.insert(0, folder)

from qol_dagster.pipeline.glue_job import main  # noqa: E402

if failed := main(sys.argv[1:]):
    sys.exit(failed)  # and nothing if all is well: Glue takes any exit for a failure
