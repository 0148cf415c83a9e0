"""Stored data: every key, listing, lock and atomic replacement of a partition. Knows no engine and no Dagster.

Belongs here: what touches raw objects and Parquet partitions. Not here: what a record or a row means.
"""
