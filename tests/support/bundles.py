"""A bundle made by hand: a linear model of grey images, without PyTorch and without a run."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from limbeck._base.runtime.file_names import CARD, GOLDEN, KINDS, METADATA, PREPROCESS, SUMS
from limbeck.deploy.bundle import runtime_files

SHAPE, LABELS = (1, 12, 10), ["cat", "dog", "fox"]
TEMPERATURE = 1.5
WEIGHT = np.random.default_rng(0).normal(0, 0.002, (120, 3)).astype(np.float32)


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def linear_model(weight=WEIGHT):
    """An ONNX model: logits of pixels times a matrix."""
    inputs = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", *SHAPE])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(LABELS)])
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "linear", [inputs], [outputs], initializer=tensors)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def table_model(weight):
    """An ONNX model: logits of rows times a matrix, in which missing values count as 0."""
    rows, classes = len(weight), len(LABELS)
    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
    nodes = [
        helper.make_node("IsNaN", ["x"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", "zero", "x"], ["known"]),
        helper.make_node("MatMul", ["known", "weight"], ["logits"]),
    ]
    arrays = {"weight": weight, "zero": np.zeros(1, np.float32)}
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "rows", [inputs], [outputs], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_table_bundle(folder):
    """Write a bundle of a model of rows, whose columns are a number and a category."""
    write_bundle(folder)
    weight = np.array([[0.01, 0.0, -0.01], [1.0, 0.5, -1.0]], np.float32)
    inputs = np.array([[1.5, 0.0], [np.nan, 1.0]], np.float32)
    golden = {"inputs": inputs}
    for kind, file in KINDS.items():
        onnx.save(table_model(weight), folder / file)
        golden[kind] = np.nan_to_num(inputs) @ weight
    np.savez(folder / GOLDEN, **golden)
    columns = [
        {"name": "age", "categories": None},
        {"name": "colour", "categories": ["red", "blue"]},
    ]
    preprocess = {"kind": "table", "shape": [2], "dtype": "float32", "columns": columns}
    (folder / PREPROCESS).write_text(json.dumps(preprocess))
    return write_sums(folder)


def write_sums(folder):
    """Write checksums that fit, as somebody who changes a bundle on purpose would."""
    lines = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in (SUMS, CARD):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            lines.append(f"{digest}  {file.relative_to(folder).as_posix()}\n")
    (folder / SUMS).write_text("".join(lines))
    return folder


def write_bundle(folder, *, preprocess=None):
    """Write a bundle; its model of 8 bits is one of float32 with rounded weights."""
    folder.mkdir()
    weights = {"fp32": WEIGHT, "int8": np.round(WEIGHT, 4)}
    inputs = images(16, seed=1)
    golden = {"inputs": inputs}
    for kind, weight in weights.items():
        onnx.save(linear_model(weight), folder / KINDS[kind])
        golden[kind] = inputs.reshape(16, -1).astype(np.float32) @ weight
    np.savez(folder / GOLDEN, **golden)
    facts = {"format": 1, "name": "linear", "temperature": TEMPERATURE}
    facts["tolerances"] = {"fp32": 1e-4, "int8": 1e-4}
    preprocess = {"shape": SHAPE, **(preprocess or {"kind": "image", "crop_border": False})}
    contents = {
        METADATA: facts,
        "labels.json": {"labels": LABELS},
        PREPROCESS: preprocess,
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    (folder / CARD).write_text("TODO")
    for name, content in runtime_files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return write_sums(folder)
