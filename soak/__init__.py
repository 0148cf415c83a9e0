"""A year in a box: simulated weeks through the real receiver, the real job and the real daemon, with faults throughout.

Belongs here: time that is sped up, the faults, the processes, what must have come of it, and the closing table. What
Garmin sends is `garmin_sim`'s. Only `make soak`, its test and that of storms import it.

    make soak WEEKS=52 PARTICIPANTS=200 SEED=1
"""
