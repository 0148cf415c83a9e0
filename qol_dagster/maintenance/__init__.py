"""Keeping a home: backup, restore and retention of what is stored on one machine.

Belongs here: which files of a home a backup holds, its archives and manifests, putting them back, and what is removed
after how long. Not here: Dagster's runs, which `defs` removes by Dagster's own means; erasing a person.
"""
