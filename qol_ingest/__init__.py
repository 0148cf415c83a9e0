"""The receiver: Lambdas that take what Garmin sends, and the same on a laptop. Standard library and boto3 only.

Belongs here: the way from a request to a stored object, and what participants and Garmin are asked. Not here: metrics,
Dagster, and anything of `qol_dagster`, which this package never imports.
"""
