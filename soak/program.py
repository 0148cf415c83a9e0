"""`qol` as a process of a soak starts it.

Belongs here: that alone. What every process of a soak begins with is `start.py`'s.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run `qol`. The receiver notes each push, since an hour of its clock passes in no time here."""
    if sys.argv[1:3] == ["webhook", "serve"]:
        from qol_ingest import webhook

        webhook.NOTED_FOR_S = 0
    from qol_dagster.cli.app import main as qol

    qol()


if __name__ == "__main__":
    main()
