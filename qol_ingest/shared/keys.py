"""Every prefix of the lake's bucket, and folder of a lake on one machine, once.

Belongs here: names without a slash at their end, and who writes what lies there. The names of tables are in
`qol_dagster/metrics/tables.py`.
"""

from __future__ import annotations

# -- what came in, by the receiver; it is never changed
RAW = "raw/daily"
QUARANTINE = "raw/quarantine"
"""Bodies and records that could not be read."""
LIFECYCLE = "raw/lifecycle"
"""Deregistrations and changes of permissions."""
PINGS = "raw/pings"
PULLED = "raw/pulled"
"""What became of each ping."""
FILES = "raw/files"
"""Activity files."""
BACKFILLS = "raw/backfills"
"""Which days of a participant were asked for again."""
SURVEYS = "raw/surveys"
"""What participants answered."""

# -- what runs make of it
RECORDS = "records"
"""Raw lines, parsed once."""
PROCESSED = "processed"
"""Tables; those of a profile have its suffix."""
HISTORY = "history"
"""What was replaced in tables, and the log of it; that of a profile has its suffix."""
FREEZES = "freezes"
"""Manifests of states that stay."""
REPORTS = "reports"
"""What staff read each week."""

# -- what people give and decide
SURVEY_TEXTS = "survey"
"""The licensed wording of the questionnaire."""
ERASURES = "erasures"
"""The ledger of who withdrew or was erased, with its key, and signed reports of erasures."""

# -- what passes, and is nothing of anybody
LOCKS = "locks"
ARRIVALS = "arrivals"
"""Dates that new raw files came for."""
ALERTS = "alerts"
"""Which runs were alerted about."""
WORK = "tmp"
"""What the machines of a cluster hand to each other; each run has a folder, and takes it away again."""
PIPES = "pipes"
"""Messages of the Glue job to Dagster."""
COMPUTE_LOGS = "dagster"
"""What the steps of runs print."""
QUERY_RESULTS = "athena"

# -- of the bucket of backups
ARCHIVES = "archives"
"""ZIP archives and their manifests, beside the copies that S3 makes of the lake's objects."""
