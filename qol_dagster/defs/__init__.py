"""Everything that Dagster sees. The only package that imports `dagster`.

Belongs here: assets, checks, jobs, schedules, sensors, alerts, and Dagster's instance. Thin: what is computed is
`pipeline/`'s.
"""
