"""The weekly report: what study staff, a programme's head and researchers look at, as files that need no program.

Belongs here: which numbers are shown, in which words, and how the page looks. The numbers come from the tables through
the catalogue; nothing here reads raw data or knows of Dagster.
"""
