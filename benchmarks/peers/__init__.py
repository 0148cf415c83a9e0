"""The same tables in other ways. Each module is a program of its own that uses nothing of the product.

    python -m benchmarks.peers.NAME LAKE PEOPLE.csv OUT

reads LAKE/raw/daily, writes OUT/daily.parquet and OUT/weekly.parquet, and prints its seconds and memory as JSON.
"""
