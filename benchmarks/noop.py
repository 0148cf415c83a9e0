"""A Dagster asset that does nothing, run as `qol materialize` runs its job: what a run costs before any work.

The same imports of Dagster, the same instance (QOL_HOME/dagster), the same executor, a partition as ours has. With
`--quick` its process also begins and ends as that of `qol` does.
"""

from __future__ import annotations

import sys

import dagster as dg

from benchmarks.lakes import UNTIL
from qol_dagster.cli.fast_exit import run_and_exit
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.defs.partitions import partitions_from
from qol_dagster.settings import load_settings


def main() -> int:
    """Run it for one week."""
    settings = load_settings()
    weekly = partitions_from(settings.start_date).weekly

    @dg.asset(partitions_def=weekly)
    def nothing() -> None:
        pass

    with dagster_instance(settings) as instance:
        defs = dg.Definitions(
            assets=[nothing],
            jobs=[dg.define_asset_job("noop_job", selection=[nothing], executor_def=dg.in_process_executor)],
        )
        result = defs.resolve_job_def("noop_job").execute_in_process(
            instance=instance,
            partition_key=weekly.get_last_partition_key(),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    print(result.success, UNTIL)
    return 0


if __name__ == "__main__":
    if "--quick" in sys.argv:
        run_and_exit(main)
    main()
