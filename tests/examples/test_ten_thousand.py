"""The example as a user runs it: real images, in a process of its own."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MNIST = Path(os.environ.get("LIMBECK_DATA", ROOT.parent / "shared" / "data")) / "mnist"


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}")
def test_the_three_lines_on_ten_thousand_real_images():
    script = ROOT / "examples" / "ten_thousand.py"
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, str(script), str(MNIST), "2", "1"],
        env=settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    right = ast.literal_eval(done.stdout.splitlines()[-1])
    assert list(right) == ["teacher", "labels", "distilled"]
    assert right["teacher"] > 9500
    assert min(right["labels"], right["distilled"]) > 9200
