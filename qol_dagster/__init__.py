"""The quality-of-life Dagster project: raw Garmin records in, weekly metrics out."""
