"""Questionnaires beside the sensors: WHOQOL-26 scored, due in waves, joined with the 14 days before each answer.

Belongs here: pure functions of answers and daily rows. Item numbers and short keys only: the wording is licensed, and
is in no file of the repository. Not here: stored data (`lake/`), and the run that reads and writes it (`pipeline/`).
"""
