import os
import random

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import WEIGHT, as_model, content, linear

from limbeck._base.errors import LimbeckError, TeacherError, UntrustedFileError
from limbeck.teacher.onnx_file import parse_onnx, read_onnx
from limbeck.teacher.onnx_model import OnnxTeacher

X = torch.rand(3, 1, 4, 4)


def with_data_file(folder, location="weights.data", **entries):
    """A model whose weights are in another file of its folder, as PyTorch exports it."""
    folder.mkdir(exist_ok=True)
    model = linear()
    (tensor,) = model.graph.initializer
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": "8", "length": str(len(values)), **entries}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "weights.data").write_bytes(b"\0" * 8 + values)
    return folder / "model.onnx"


def test_weights_in_another_file_become_part_of_the_model(tmp_path):
    model = OnnxTeacher(read_onnx(with_data_file(tmp_path / "a")), "model.onnx")
    torch.testing.assert_close(model(X), X.flatten(1) @ torch.from_numpy(WEIGHT))
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(content())
    assert read_onnx(whole) == content()


def test_other_weights_are_another_model(tmp_path):
    file = with_data_file(tmp_path / "a")
    before = read_onnx(file)
    data = bytearray((tmp_path / "a" / "weights.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a" / "weights.data").write_bytes(data)
    assert read_onnx(file) != before


def test_a_length_may_be_missing(tmp_path):
    file = with_data_file(tmp_path / "a", length=None)
    assert OnnxTeacher(read_onnx(file), "m.onnx")(X).shape == (3, 3)


def test_both_files_may_be_links_into_one_folder_of_a_cache(tmp_path):
    file = with_data_file(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for name in ("model.onnx", "weights.data"):
        (tmp_path / "snapshot" / name).symlink_to(file.with_name(name))
    assert read_onnx(tmp_path / "snapshot" / "model.onnx") == read_onnx(file)


@pytest.mark.parametrize(
    "location", ["../weights.data", "/etc/passwd", "sub/weights.data", "", ".", ".."]
)
def test_files_elsewhere_are_not_read(tmp_path, location):
    file = with_data_file(tmp_path / "a", location)
    (tmp_path / "weights.data").write_bytes(b"\0" * 1000)
    with pytest.raises(
        UntrustedFileError, match=r"not a file of its folder|another folder|cannot be"
    ):
        read_onnx(file)


def test_a_link_to_a_file_elsewhere_is_not_followed(tmp_path):
    file = with_data_file(tmp_path / "a")
    (tmp_path / "secret").write_bytes((tmp_path / "a" / "weights.data").read_bytes())
    (tmp_path / "a" / "weights.data").unlink()
    (tmp_path / "a" / "weights.data").symlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedFileError, match="a link to another folder"):
        read_onnx(file)


def test_a_missing_data_file_is_named(tmp_path):
    file = with_data_file(tmp_path / "a")
    (tmp_path / "a" / "weights.data").unlink()
    with pytest.raises(TeacherError, match=r"needs the file 'weights\.data' with its weights"):
        read_onnx(file)


@pytest.mark.parametrize(
    "entries", [{"offset": "999"}, {"offset": "-1"}, {"length": "999"}, {"length": "x"}]
)
def test_bytes_past_the_end_are_damage(tmp_path, entries):
    with pytest.raises(UntrustedFileError, match="is damaged or does not belong to"):
        read_onnx(with_data_file(tmp_path / "a", **entries))


def inner_graph_model():
    """A model whose branch holds a constant in another file."""
    constant = numpy_helper.from_array(WEIGHT, "inner")
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="weights.data")
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [16, 3])
    node = helper.make_node("Constant", [], ["w"], value=constant)
    branch = helper.make_graph([node], "branch", [], [value])
    nodes = [helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)]
    yes = numpy_helper.from_array(np.array(True), "yes")
    return as_model(helper.make_graph(nodes, "outer", [], [value], initializer=[yes]))


def test_constants_in_branches_are_found(tmp_path):
    (tmp_path / "model.onnx").write_bytes(inner_graph_model().SerializeToString())
    with pytest.raises(TeacherError, match=r"needs the file 'weights\.data'"):
        read_onnx(tmp_path / "model.onnx")
    with pytest.raises(UntrustedFileError, match="reads other files"):
        parse_onnx(inner_graph_model().SerializeToString(), "copy")
    (tmp_path / "weights.data").write_bytes(WEIGHT.tobytes())
    model = onnx.load_model_from_string(read_onnx(tmp_path / "model.onnx"))
    branch = model.graph.node[0].attribute[0].g
    assert np.array_equal(numpy_helper.to_array(branch.node[0].attribute[0].t), WEIGHT)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TeacherError, match=r"none\.onnx does not exist"):
        read_onnx(tmp_path / "none.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UntrustedFileError, match="cannot be read: neither a file nor a folder"):
        read_onnx(tmp_path / "pipe.onnx")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(UntrustedFileError, match="cannot be read"):
        read_onnx(tmp_path / "large.onnx")


def changed(content, draw):
    """The content with some bytes changed, removed or added."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 2, 8])):
        place, kind = draw.randrange(len(data)), draw.random()
        if kind < 0.6:
            data[place] = draw.randrange(256)
        elif kind < 0.8:
            del data[place : place + draw.randrange(1, 8)]
        else:
            data[place:place] = draw.randbytes(draw.randrange(1, 8))
    return bytes(data)


@pytest.mark.parametrize("has_data_file", [False, True])
def test_any_damage_is_a_message(has_data_file, tmp_path, capfd):
    file = with_data_file(tmp_path / "a")
    original = file.read_bytes() if has_data_file else content(end=["Softmax"])
    draw = random.Random(0)
    errors = 0
    for _ in range(60):
        file.write_bytes(changed(original, draw))
        try:
            OnnxTeacher(read_onnx(file), "m.onnx", classes=3)(X)
        except LimbeckError:
            errors += 1
    assert errors > 30
    assert capfd.readouterr().out == ""
