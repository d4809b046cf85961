import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto
from support.onnx_files import (
    WEIGHT,
    content,
    mean_of_colours,
    several_outputs,
    two_inputs,
)

from limbeck._base.errors import ResourceError, TeacherError, UntrustedFileError
from limbeck.models import Normalized
from limbeck.teacher.onnx_model import OnnxTeacher
from limbeck.teacher.probabilities import FLOOR
from limbeck.teacher.signal import LiveTeacher

X = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LOGITS = X.flatten(1) @ torch.from_numpy(WEIGHT)


def teacher(**options):
    return OnnxTeacher(content(**options), "model.onnx", classes=3)


def answers(x=X, **options):
    return LiveTeacher(teacher(**options))(x)


def test_logits_are_those_of_the_model():
    torch.testing.assert_close(answers(), LOGITS)
    assert answers().dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "x"),
    [
        ((5, 1, 4, 4), X),  # 7 samples in batches of 5
        ((1, 1, 4, 4), X),
        ((200, 1, 4, 4), X),
        (("N", 16), X),  # images as rows
        (("N", 1, "H", "W"), X),
        (("N", 16), X.flatten(1)),
        ((None, 1, 4, 4), X.double()),
        (("N", 1, 4, 4), X.bfloat16()),
    ],
)
def test_batch_axes_and_shapes(shape, x):
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if x.dtype == torch.bfloat16 else {}
    torch.testing.assert_close(answers(x, shape=shape), LOGITS, **tolerance)


def test_inputs_are_read_in_batches(monkeypatch):
    monkeypatch.setattr("limbeck.teacher.onnx_model.BATCH", 3)
    model = teacher()
    sizes = []
    run = model._run
    monkeypatch.setattr(model, "_run", lambda part: sizes.append(len(part)) or run(part))
    torch.testing.assert_close(model(X), LOGITS)
    assert sizes == [3, 3, 1]


def test_bytes_are_the_pixels_of_the_data():
    pixels = torch.randint(256, (7, 1, 4, 4), generator=torch.Generator().manual_seed(2))
    model = teacher(kind=TensorProto.UINT8)
    expected = pixels.flatten(1).float() @ torch.from_numpy(WEIGHT)
    torch.testing.assert_close(model(pixels / 255), expected)
    assert model.takes_bytes
    assert not teacher().takes_bytes


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [(TensorProto.FLOAT16, 1e-2), (TensorProto.DOUBLE, 1e-6)],
)
def test_other_floating_types(kind, tolerance):
    result = answers(kind=kind, out_kind=kind)
    torch.testing.assert_close(result, LOGITS, rtol=tolerance, atol=tolerance)
    assert result.dtype == torch.float32


@pytest.mark.parametrize(
    ("end", "note"),
    [
        (["Softmax"], "ends with a softmax"),
        (["Softmax", "Identity"], "ends with a softmax"),
        (["LogSoftmax"], None),
    ],
)
def test_probabilities_at_the_end_become_logits(end, note):
    model = teacher(end=end)
    torch.testing.assert_close(model(X).softmax(-1), LOGITS.softmax(-1))
    assert [text for text in model.notes if "ends with" in text] == (
        [f"model.onnx {note}: its logarithm gives the logits"] if note else []
    )


def test_a_probability_of_zero_is_floored():
    result = teacher(end=["Softmax"])(X * 1000)
    assert float(result.amin()) == pytest.approx(np.log(FLOOR))


def test_one_sigmoid_is_the_probability_of_the_second_class():
    weight = WEIGHT[:, :1]
    model = OnnxTeacher(content(weight=weight, end=["Sigmoid"]), "model.onnx", classes=2)
    expected = torch.sigmoid(X.flatten(1) @ torch.from_numpy(weight))[:, 0]
    torch.testing.assert_close(LiveTeacher(model)(X).softmax(-1)[:, 1], expected)
    assert any("ends with a sigmoid" in note for note in model.notes)


@pytest.mark.parametrize(
    ("names", "kinds", "expected"),
    [
        (["label", "p"], [TensorProto.INT64, TensorProto.FLOAT], "p"),
        (["features", "logits"], [TensorProto.FLOAT, TensorProto.FLOAT], "logits"),
    ],
)
def test_the_output_with_the_logits_is_chosen(names, kinds, expected):
    model = OnnxTeacher(several_outputs(names, kinds).SerializeToString(), "m.onnx")
    assert model.output.name == expected
    torch.testing.assert_close(model(X), LOGITS)


def make(model):
    return OnnxTeacher(model.SerializeToString(), "m.onnx", classes=3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            several_outputs(["a", "b"], [TensorProto.FLOAT] * 2),
            r"several outputs that may be logits \(a, b\).*the one of the name logits",
        ),
        (
            several_outputs(["label"], [TensorProto.INT64]),
            r"no output of floating-point numbers \(label\)",
        ),
        (two_inputs(), r"2 inputs \(ids, mask\); limbeck needs a model with one"),
    ],
)
def test_models_that_are_no_classifiers_of_one_input(model, message):
    with pytest.raises(TeacherError, match=message):
        make(model)


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        (
            {"shape": ("N", 15), "weight": WEIGHT[:15]},
            X,
            r"takes inputs of shape \[any, 15\], .* inputs of shape \[16\]",
        ),
        ({}, X.flatten(1), r"takes inputs of shape \[any, 1, 4, 4\], .* of shape \[16\]"),
        ({"kind": TensorProto.INT64}, X, "takes whole numbers, such as token ids"),
        ({"kind": TensorProto.BOOL}, X, r"takes inputs of type tensor\(bool\)"),
    ],
)
def test_inputs_that_do_not_fit(options, x, message):
    with pytest.raises(TeacherError, match=message):
        answers(x, **options)


def test_token_ids_are_whole_numbers():
    ids = torch.randint(9, (4, 16))
    expected = ids.float() @ torch.from_numpy(WEIGHT)
    model = teacher(shape=("N", 16), kind=TensorProto.INT64)
    torch.testing.assert_close(model(ids), expected)


def test_images_are_brought_to_the_size_and_the_colours_of_the_model():
    model = make(mean_of_colours())
    grey = torch.full((2, 1, 4, 4), 0.25)
    torch.testing.assert_close(model(grey), torch.full((2, 3), 0.25))
    assert model.notes == [
        "m.onnx: images are resized to 6 x 6 pixels",
        "m.onnx: grey images are repeated for three channels",
    ]
    colours = torch.rand(2, 3, 12, 12)
    torch.testing.assert_close(model(colours), colours.mean((2, 3)), atol=0.02, rtol=0)


def test_channels_may_be_last():
    x = torch.rand(2, 3, 6, 5)
    model = make(mean_of_colours(shape=("N", 6, 5, 3), channels_last=True))
    torch.testing.assert_close(model(x), x.mean((2, 3)))


def test_a_model_may_be_normalised_from_outside():
    model = Normalized(teacher(), [0.5], [0.25])
    expected = (X.flatten(1) - 0.5) / 0.25 @ torch.from_numpy(WEIGHT)
    torch.testing.assert_close(LiveTeacher(model)(X), expected)


def test_another_content_is_another_model():
    one, same, other = teacher(), teacher(), teacher(weight=WEIGHT * 2)
    assert torch.equal(one.digest, same.digest)
    assert not torch.equal(one.digest, other.digest)
    assert one.parameter_count == WEIGHT.size


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x08\x07\x12\x07pytorch"])
def test_a_damaged_model_is_one_message(damage):
    with pytest.raises(UntrustedFileError, match=r"m\.onnx is damaged, or not an ONNX model"):
        OnnxTeacher(damage, "m.onnx")


def test_a_model_of_an_unknown_operator_is_one_message():
    with pytest.raises(UntrustedFileError, match=r"cannot be loaded by ONNX Runtime"):
        teacher(end=["Mystery"])


def test_output_without_rows_is_one_message():
    with pytest.raises(TeacherError, match=r"one row per input|cannot compute"):
        answers(end=["ReduceSum"])


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named(library, monkeypatch):
    model = content()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ResourceError, match=rf"not installed\. .*pip install .*{library}"):
        OnnxTeacher(model, "m.onnx")
