"""Files of a run folder."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file


def manifest(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def students(out):
    """The tensors of all students by their paths."""
    tensors = {}
    for file in sorted(out.glob("students/*/*/model.safetensors")):
        folder = file.parent.relative_to(out)
        tensors |= {f"{folder}/{name}": tensor for name, tensor in load_file(file).items()}
    return tensors


def copy_run(source, target):
    """Copy a run without what ``export`` and ``cost`` of other tests have added to it."""
    ignore = shutil.ignore_patterns("bundle*", "cost.json")
    return Path(shutil.copytree(source, target, ignore=ignore))
