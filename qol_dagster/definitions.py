"""The only entry for Dagster: `workspace.yaml`, `dagster dev` and `dg dev` load this module."""

from qol_dagster.defs.code_location import build_defs, defs

__all__ = ["build_defs", "defs"]
