"""Data that is fetched from Garmin or asked of it: pings and backfills.

Belongs here: what is fetched, when it is tried again, and where it is stored. Not here: the requests (`garmin/`).
"""
