"""`qol` as a process of a soak starts it.

Belongs here: that alone. What every process of a soak begins with is `start.py`'s.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run `qol`. An hour passes in no time here: each push is noted, and downloads are tried again at once."""
    if sys.argv[1:3] == ["webhook", "serve"]:
        from qol_ingest import webhook
        from qol_ingest.pulling import puller

        webhook.NOTED_FOR_S = 0
        puller.FIRST_PAUSE_S = 0.01
    from qol_dagster.cli.app import main as qol

    qol()


if __name__ == "__main__":
    main()
