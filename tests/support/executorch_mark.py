"""Whether tests can run ExecuTorch, which the test dependencies do not include."""

from importlib.util import find_spec

import pytest

needs_executorch = pytest.mark.skipif(
    find_spec("executorch") is None, reason="ExecuTorch is not installed"
)
