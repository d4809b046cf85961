"""Mark of tests that run ExecuTorch, which the test dependencies do not include."""

from importlib.util import find_spec

import pytest


def needs_executorch(test):
    """Skip a test where ExecuTorch is not installed; ``.ci/check_executorch`` installs it."""
    is_missing = find_spec("executorch") is None
    skip = pytest.mark.skipif(is_missing, reason="ExecuTorch is not installed")
    return pytest.mark.needs_executorch(skip(test))
