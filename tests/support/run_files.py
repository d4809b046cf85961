"""Files of a run folder."""

import json

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
