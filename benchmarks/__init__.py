"""Measurements: how fast the job is beside other ways to do the same, and how it grows. `python -m benchmarks`.

Belongs here: lakes to measure on, the peers, and the tables of figures. Nothing here is part of the product.
"""
