"""The `qol` command.

Belongs here: options, messages, exit codes, and how a command's process begins and ends. Not here: what is done.
"""
