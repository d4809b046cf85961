"""Whether processes run."""

import os
import subprocess
import sys

from limbeck._base.processes import may_run


def test_processes_that_run_and_that_have_ended():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert may_run(os.getpid())
    assert not may_run(ended.pid)
    assert not may_run(10**30)
