"""The program of a bundle: runs where limbeck and PyTorch are missing, and imports nothing else."""

import ast
import csv
import io
import py_compile
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from support.bundles import LABELS, TEMPERATURE, WEIGHT, images

from limbeck._base import runtime

BLOCKED = "torch", "torchvision", "lightning", "scipy", "onnx", "limbeck", "hydra", "rich"
GUARD = """
import runpy, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked}:
            raise ImportError(name + ' is not on this device')
sys.meta_path.insert(0, Guard())
sys.argv = {words}
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def rows_of(table):
    return list(csv.DictReader(io.StringIO(table)))


# A device -----------------------------------------------------------------------------------------


def run_on_device(bundle, *words):
    """``run.py`` of a bundle where only NumPy, Pillow and ONNX Runtime can be imported."""
    words = [str(bundle / "run.py"), *map(str, words)]
    script = GUARD.format(blocked=BLOCKED, words=words)
    return subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=120
    )


def test_a_device_without_torch_verifies_and_predicts(shared_bundle, pictures):
    process = run_on_device(shared_bundle, "verify")
    assert (process.returncode, process.stderr) == (0, "")
    assert len(process.stdout.splitlines()) == 3
    process = run_on_device(shared_bundle, "bench", "--seconds", "0.01")
    assert (process.returncode, process.stderr) == (0, "")
    assert "model.int8.onnx" in process.stdout
    process = run_on_device(shared_bundle, "predict", pictures, "--model", "fp32", "--top", "3")
    assert (process.returncode, process.stderr) == (0, "")
    logits = images(6).reshape(6, -1).astype(np.float64) @ WEIGHT
    shares = softmax(logits / TEMPERATURE, -1)
    for row, share in zip(rows_of(process.stdout), shares, strict=True):
        order = np.argsort(-share)
        labels = [row["label"], row["label_2"], row["label_3"]]
        assert labels == [LABELS[k] for k in order]
        confidences = [float(row[f"confidence{suffix}"]) for suffix in ("", "_2", "_3")]
        assert confidences == pytest.approx(share[order], abs=1e-4)


HOSTILE = "print('HIJACKED')"


def run_in(bundle, verb="verify"):
    """``python run.py`` in the folder of a bundle."""
    process = subprocess.run(
        [sys.executable, "run.py", verb], cwd=bundle, capture_output=True, text=True, timeout=120
    )
    assert "HIJACKED" not in process.stdout + process.stderr
    return process


def test_foreign_files_are_neither_imported_nor_ignored(bundle):
    (bundle / "csv.py").write_text("print('HIJACKED')")
    process = run_in(bundle)
    assert process.returncode == 7
    assert "csv.py: not part of this bundle" in process.stderr


def compiled(bundle, folder):
    """Write a compiled file that Python takes for that of ``runtime/errors.py`` unchecked."""
    source = bundle / "evil.py"
    source.write_text(HOSTILE)
    target = bundle / folder / f"errors.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(target), invalidation_mode=mode)
    source.unlink()


@pytest.mark.parametrize("place", ["csv.py", "errors/__init__.py", "__pycache__"])
def test_foreign_files_among_the_modules_are_not_imported(bundle, place):
    """A folder of the same name comes before a module elsewhere, and a compiled file may too."""
    path = bundle / "runtime" / place
    if place == "__pycache__":
        compiled(bundle, f"runtime/{place}")
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(HOSTILE)
    process = run_in(bundle)
    assert process.returncode == 7
    assert f"runtime/{place.partition('/')[0]}: not part of this bundle" in process.stderr


def test_nothing_is_written_into_the_bundle(bundle):
    before = sorted(bundle.rglob("*"))
    assert run_in(bundle).returncode == 0
    assert sorted(bundle.rglob("*")) == before


def test_a_changed_module_is_not_run(bundle):
    file = bundle / "runtime" / "files.py"
    file.write_text(f"{HOSTILE}\n{file.read_text()}")
    process = run_in(bundle, "predict")
    assert process.returncode == 7
    assert process.stderr == "error: runtime/files.py is damaged or was changed.\n"
    file.unlink()
    process = run_in(bundle)
    assert process.returncode == 7
    assert process.stderr == "error: runtime/files.py is missing; the bundle is incomplete.\n"
    (bundle / "SHA256SUMS").unlink()
    assert run_in(bundle).stderr == "error: SHA256SUMS is missing; the bundle is incomplete.\n"


def test_the_runtime_imports_only_itself_and_what_a_device_has():
    others = {"numpy", "PIL", "onnxruntime", "tokenizers", "pydicom", "pyarrow"}
    files = sorted(Path(runtime.__file__).parent.glob("*.py"))
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, file
                assert f"{node.module}.py" in {file.name for file in files}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
    assert names - sys.stdlib_module_names == others
