"""The domain: Garmin's fields, the tables' columns, and the expressions from one to the other. Pure.

Belongs here: definitions and Ibis expressions, plain values in and out. Not here: files, engines, Dagster, AWS; this
package imports no other of ours but `errors`.
"""
