"""The weekly job without an orchestrator: which days are computed, in what order, and what is reported.

Belongs here: plan, compute, write. Not here: expressions (`metrics/`), SQL engines, and what Dagster shows of a run.
"""
