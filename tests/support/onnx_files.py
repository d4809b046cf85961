"""Small ONNX models, made without PyTorch."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3
WEIGHT = np.random.default_rng(0).normal(0, 0.5, (16, CLASSES)).astype(np.float32)
"""Weight of the linear models, for inputs of 16 numbers."""


def linear(
    *,
    weight=WEIGHT,
    shape=("N", 1, 4, 4),
    kind=TensorProto.FLOAT,
    end=(),
    output="answers",
    out_kind=TensorProto.FLOAT,
):
    """An ONNX model: inputs times a matrix, in float32, with further operators at the end."""
    names = ["product", *(f"end{number}" for number in range(len(end)))]
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
    ]
    for number, operator in enumerate(end):
        nodes.append(helper.make_node(operator, [names[number]], [names[number + 1]]))
    nodes.append(helper.make_node("Cast", [names[-1]], [output], to=out_kind))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(output, out_kind, [shape[0], weight.shape[1]])],
        initializer=[numpy_helper.from_array(weight, "weight")],
    )
    return as_model(graph)


def as_model(graph, functions=()):
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def content(**options):
    """The bytes of :func:`linear`."""
    return linear(**options).SerializeToString()


def several_outputs(names, kinds):
    """A model with outputs of given names and types, all of the same numbers."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
    ]
    outputs = []
    for name, kind in zip(names, kinds, strict=True):
        nodes.append(helper.make_node("Cast", ["product"], [name], to=kind))
        outputs.append(helper.make_tensor_value_info(name, kind, ["N", CLASSES]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 4, 4])]
    tensors = [numpy_helper.from_array(WEIGHT, "weight")]
    return as_model(helper.make_graph(nodes, "several", inputs, outputs, initializer=tensors))


def two_inputs():
    """A model with two inputs."""
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in ("ids", "mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])]
    nodes = [helper.make_node("Mul", ["ids", "mask"], ["logits"])]
    return as_model(helper.make_graph(nodes, "two", inputs, outputs))


def mean_of_colours(*, shape=("N", 3, 6, 6), channels_last=False):
    """A model of colour images: their mean colour, which is three logits."""
    axes = [1, 2] if channels_last else [2, 3]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])]
    nodes = [helper.make_node("ReduceMean", ["x"], ["logits"], axes=axes, keepdims=0)]
    return as_model(helper.make_graph(nodes, "colours", inputs, outputs))
