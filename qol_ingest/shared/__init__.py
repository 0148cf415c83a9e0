"""What the receiver and the Dagster project have in common: the id map, queues, stores, dates, limits and errors.

Belongs here: what `qol_dagster` may import too. Not here: whatever only a Lambda does. boto3 only
where a form is for AWS.
"""
