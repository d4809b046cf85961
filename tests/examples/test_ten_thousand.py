"""The example of plain PyTorch runs, on drawn images and on the real ones."""

import ast
import gzip
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.idx_files import NAMES, idx

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "ten_thousand.py"
MNIST = Path(os.environ.get("LIMBECK_DATA", ROOT.parent / "shared" / "data")) / "mnist"


def test_the_example_runs_on_a_few_images(tmp_path):
    """Each class has a bright band at a height of its own."""
    random = np.random.default_rng(0)
    for images_name, labels_name in (NAMES[:2], NAMES[2:]):
        labels = np.arange(200) % 10
        images = random.integers(0, 60, (200, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] += 180
        (tmp_path / f"{images_name}.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{labels_name}.gz").write_bytes(gzip.compress(idx(labels)))
    correct = runpy.run_path(str(SCRIPT))["main"](str(tmp_path), epochs=1, teacher_epochs=1)
    assert list(correct) == ["teacher", "labels", "distilled"]
    assert max(correct.values()) <= 200


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}")
def test_the_three_lines_on_ten_thousand_real_images():
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(MNIST), "2", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    correct = ast.literal_eval(result.stdout.splitlines()[-1])
    assert correct["teacher"] > 9500
    assert min(correct["labels"], correct["distilled"]) > 9200
