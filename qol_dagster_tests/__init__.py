"""The tests, and in `support/` what they share: its assertions explain themselves as those of tests do."""

import pytest

pytest.register_assert_rewrite("qol_dagster_tests.support")
