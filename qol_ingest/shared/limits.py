"""What is data and what is not: the limits of times and numbers that the receiver and the weekly job share.

Belongs here: constants alone. Limits of a single field are in `qol_dagster.metrics.fields`.
"""

FIRST_SECOND, LAST_SECOND = -2_208_988_800, 253_402_300_799
"""The years 1900 to 9999, in local seconds since 1970: a start outside of them is no start."""
LARGEST_NUMBER = 1e15
"""Above this a number cannot be a measurement or a time, and sums would lose whole units: it is read as null."""
