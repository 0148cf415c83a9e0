"""Ports to the world and their two forms: one for a laptop and one for AWS.

Belongs here: id map, arrivals, catalogue, notifier, Glue runs, Garmin's cloud. Not here: decisions of the weekly job.
"""
