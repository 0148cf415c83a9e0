"""Keeping a deployment: backup and restore, of a home or of AWS in its form; retention of a home.

Belongs here: which files a backup holds, its archives and manifests, putting them back, and what is removed after how
long. Not here: Dagster's runs, which `defs` removes by Dagster's own means; erasing a person.
"""
