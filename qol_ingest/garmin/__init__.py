"""Garmin's cloud as the receiver asks it: its API and the tokens for it.

Belongs here: requests to Garmin and what permits them. Not here: when something is asked for.
"""
