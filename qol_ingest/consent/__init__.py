"""How a participant connects a Garmin account: pages, invitations, OAuth.

Belongs here: what a participant sees and what is remembered until Garmin's answer. Not here: asking Garmin for data.
"""
