"""What tests share: small lakes, references, stand-ins for the outside world, and suites of more than one adapter.

Belongs here: helpers without assertions of their own, and `contracts/`. Fixtures are in the conftests.
"""
