"""What every adapter of a port does, whether it is local or AWS's.

Belongs here: suites that ask for the adapter by a fixture. A test module of `unit/`, `functional/` or `aws/` defines
that fixture and runs the suite with `globals().update(contract_tests(contract))`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType


def contract_tests(contract: ModuleType, *, without: Collection[str] = ()) -> dict[str, Callable[..., None]]:
    """Return the tests of a contract by name, but for some."""
    tests = {name: value for name, value in vars(contract).items() if name.startswith("test_")}
    assert tests.keys() >= set(without)
    return {name: test for name, test in tests.items() if name not in without}
