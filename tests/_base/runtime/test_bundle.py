"""The runtime that every bundle holds: what it reads and refuses, without torch and limbeck."""

import io
import json
import shutil
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from support.bundles import (
    LABELS,
    WEIGHT,
    images,
    linear_model,
    write_sums,
)

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError, DifferentOutputsError, MissingLibraryError
from limbeck._base.runtime.files import MAX_TEXT_BYTES
from limbeck._base.runtime.model import Model
from limbeck._base.runtime.predict import predict
from limbeck._base.runtime.verify import verify


def edit(folder, name, **changes):
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | changes))
    return write_sums(folder)


def test_a_missing_onnx_runtime_is_reported(shared_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingLibraryError, match="pip install onnxruntime"):
        verify(shared_bundle)


# Damage and malice --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "model.int8.onnx",
        "labels.json",
        "preprocess.json",
        "bundle.json",
        "golden.npz",
        "run.py",
    ],
)
def test_a_changed_byte_is_noticed(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged or was changed"):
        verify(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "labels.json", "preprocess.json", "golden.npz"])
def test_a_missing_file_is_noticed(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing; the bundle is incomplete"):
        verify(bundle)


PLACES = ["../../etc/passwd", "a/b", "/etc/passwd", "", ".", "SHA256SUMS"]
PLACES += [
    "runtime/../a",
    "runtime/..",
    "runtime/.",
    "runtime/",
    "runtime/a/b",
    "runtime/SHA256SUMS",
]


@pytest.mark.parametrize("line", PLACES)
def test_checksums_name_no_other_place(bundle, line):
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {line}\n")
    with pytest.raises(BundleError, match="SHA256SUMS is damaged"):
        verify(bundle)


@pytest.mark.parametrize("name", ["runtime/images.py", "runtime/__init__.py"])
def test_the_modules_of_the_runtime_are_checked(bundle, name):
    (bundle / name).write_bytes((bundle / name).read_bytes() + b"\n")
    with pytest.raises(BundleError, match=f"{name} is damaged or was changed"):
        verify(bundle)
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing; the bundle is incomplete"):
        verify(bundle)


@pytest.mark.parametrize("name", ["runtime/evil.py", "runtime/__pycache__", "other"])
def test_what_does_not_belong_to_a_bundle_is_named(bundle, name):
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match=f"{name}: not part of this bundle"):
        verify(bundle)


def test_bundles_of_one_program_file_are_read(bundle, pictures):
    """Those of limbeck 0.1.0, whose ``run.py`` was the whole runtime."""
    shutil.rmtree(bundle / "runtime")
    (bundle / "run.py").write_text("raise SystemExit('this file is not run')")
    write_sums(bundle)
    assert verify(bundle)[0] == "7 files are unchanged (SHA-256)"
    out = io.StringIO()
    assert predict(bundle, [pictures / "0.png"], out=out) == 0
    (bundle / "runtime").mkdir()
    with pytest.raises(BundleError, match="runtime: not part of this bundle"):
        verify(bundle)


def test_a_model_card_may_be_filled_in(bundle):
    card = bundle / "model_card.md"
    card.write_text(card.read_text().replace("TODO", "Nobody's images."))
    assert len(verify(bundle)) == 3
    card.unlink()
    assert len(verify(bundle)) == 3


def test_what_is_not_a_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"does not exist\. Choose a bundle"):
        verify(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="SHA256SUMS is missing; it is not a bundle"):
        verify(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(BundleError, match="expected a folder or a zip file"):
        verify(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bundle.json", {"format": 99}, "format 99; expected 1"),
        ("bundle.json", {"temperature": 0}, "temperature"),
        ("bundle.json", {"temperature": True}, "temperature"),
        ("bundle.json", {"tolerances": {}}, "fp32 should be"),
        ("bundle.json", {"tolerances": 3}, "fp32 should be"),
        ("labels.json", {"labels": "abc"}, "should list the names"),
        ("labels.json", {"labels": None}, "should list the names"),
        ("labels.json", {"labels": [1, 2, 3]}, "the names"),
        ("labels.json", {"labels": ["a", "b"]}, "for 16 inputs and 2 classes"),
        ("preprocess.json", {"kind": "code"}, "no valid settings"),
        ("preprocess.json", {"shape": None}, "no valid settings"),
        ("preprocess.json", {"shape": [1, 12]}, "no valid settings"),
        ("preprocess.json", {"shape": [2, 12, 10]}, "no valid settings"),
        ("preprocess.json", {"shape": [1, 12, 11]}, "golden"),
        ("preprocess.json", {"shape": [1, -12, 10]}, "no valid settings"),
        ("preprocess.json", {"crop_border": "yes"}, "no valid settings"),
        ("preprocess.json", {"value_range": [0]}, "no valid settings"),
        ("preprocess.json", {"value_range": [0, "x"]}, "no valid settings"),
        ("preprocess.json", {"value_range": [5, 5]}, "no valid settings"),
    ],
)
def test_facts_that_do_not_fit_are_refused(bundle, name, changes, message):
    with pytest.raises(BundleError, match=message):
        verify(edit(bundle, name, **changes))


@pytest.mark.parametrize("name", ["bundle.json", "labels.json", "preprocess.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_refused(bundle, name, content):
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        verify(write_sums(bundle))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 nothing", b"\x80\x04N.", b"\x93NUMPY\x01\x00\x06\x00hello"]
)
def test_damaged_golden_arrays_are_refused(bundle, content):
    (bundle / "golden.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        verify(write_sums(bundle))


def test_golden_arrays_of_another_kind_are_refused(bundle):
    golden = Bundle(bundle).golden()
    changes = (
        {"fp32": golden["fp32"].astype(str)},
        {"inputs": golden["inputs"][:0]},
        {"fp32": golden["fp32"][:3]},
        {"inputs": golden["inputs"].astype(str)},
    )
    for change in changes:
        np.savez(bundle / "golden.npz", **(golden | change))
        with pytest.raises(BundleError):
            verify(write_sums(bundle))
    np.save(bundle / "golden.npy", golden["inputs"])
    (bundle / "golden.npy").rename(bundle / "golden.npz")
    with pytest.raises(BundleError, match=r"golden\.npz is damaged"):
        verify(write_sums(bundle))


def test_a_pickle_among_the_golden_arrays_is_not_read(bundle):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(bundle / "golden.npz", inputs=objects, fp32=np.zeros(1), int8=np.zeros(1))
    with pytest.raises(BundleError, match=r"golden\.npz is damaged"):
        verify(write_sums(bundle))


def test_a_link_to_an_endless_file_is_refused(bundle):
    (bundle / "labels.json").unlink()
    (bundle / "labels.json").symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=r"labels\.json cannot be read \(neither a file"):
        verify(bundle)


def test_a_file_that_is_too_large_is_refused(bundle):
    with (bundle / "labels.json").open("r+b") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(BundleError, match=r"labels\.json is larger than 4 MiB"):
        verify(bundle)


def test_a_model_that_answers_differently_is_refused(bundle, run):
    onnx.save(linear_model(WEIGHT * np.float32(1.01)), bundle / "model.onnx")
    message = r"model\.onnx: 16 golden inputs, logits differ by at most"
    with pytest.raises(DifferentOutputsError, match=message):
        verify(write_sums(bundle))
    code, _, err = run("verify", bundle)
    assert code == 8
    assert err.startswith("error: ")


# Models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"\x0a", b"\x08\x01" * 10, b"\x3a\xff\xff\xff\x7f"]
)
def test_what_is_not_a_model_is_refused(bundle, content):
    (bundle / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx cannot be (loaded|run)"):
        verify(write_sums(bundle))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_a_message(content):
    with suppress(BundleError):
        Model(content, "bytes", LABELS)


def nested_branches(depth):
    """A model with branches in branches."""
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
    nodes = [helper.make_node("Constant", [], ["y"], value=value)]
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    for _ in range(depth):
        graph = helper.make_graph(nodes, "g", [], output, initializer=[condition])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)]
    graph = helper.make_graph(nodes, "g", [], output, initializer=[condition])
    return helper.make_model(graph).SerializeToString()


def test_endless_nesting_is_refused():
    content = nested_branches(6)
    for _ in range(60):  # twice the limit of Protocol Buffers, one message in the other
        length, size = b"", len(content)
        while size >= 128:
            length += bytes([size & 127 | 128])
            size >>= 7
        content = b"\x3a" + length + bytes([size]) + content
    with pytest.raises(BundleError, match="cannot be loaded"):
        Model(content, "nested", LABELS)


def external_model(location, where):
    """A model of which one tensor lies in another file."""
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3], [0.0] * 3)
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3])
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    branch = helper.make_graph([constant], "branch", [], [w])
    choice = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    nodes, initializer = {
        "graph": ([add], [tensor]),
        "constant": ([constant, add], []),
        "branch": ([choice, add], [condition]),
        "function": ([helper.make_node("F", ["x"], ["y"], domain="own")], []),
        "sparse": ([add], []),
    }[where]
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=initializer)
    if where == "sparse":
        indices = helper.make_tensor("i", TensorProto.INT64, [3], [0, 1, 2])
        graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [3]))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if where == "function":
        function = helper.make_function("own", "F", ["x"], ["y"], [constant, add], opsets[:1])
        model.functions.append(function)
    return model.SerializeToString()


@pytest.mark.parametrize("where", ["graph", "constant", "branch", "function", "sparse"])
@pytest.mark.parametrize("location", ["secret", "../secret", "/etc/hostname"])
def test_data_in_other_files_is_refused_wherever_it_is(
    bundle, monkeypatch, tmp_path, where, location
):
    """ONNX Runtime reads such a file from the working directory, for a model given as bytes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    (bundle / "model.onnx").write_bytes(external_model(location, where))
    with pytest.raises(BundleError, match=r"with which a model reads other files"):
        verify(write_sums(bundle))


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x00", b"\x88\x80\x80\x80\x00"])
def test_a_padded_length_hides_no_other_file(length):
    content = external_model("secret", "branch")
    assert onnx.ModelProto.FromString(content)
    padded = b"\x0a" + length + b"location"
    entry = onnx.StringStringEntryProto.FromString(padded)
    assert entry.key == "location", "readers accept it"
    with pytest.raises(BundleError, match="reads other files"):
        Model(content.replace(b"\x0a\x08location", padded), "padded", LABELS)


def test_names_that_contain_the_key_are_no_other_files():
    model = linear_model()
    model.graph.node[2].input[1] = model.graph.initializer[0].name = "location.weight"
    model.graph.name = "relocation"
    logits = Model(model.SerializeToString(), "named", LABELS).logits(images(2))
    assert logits.shape == (2, 3)


# Zip files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(shared_bundle, tmp_path_factory):
    file = tmp_path_factory.mktemp("zip") / "linear"
    return Path(shutil.make_archive(str(file), "zip", shared_bundle.parent, shared_bundle.name))


def test_a_zip_file_is_a_bundle_too(archive, shared_bundle, pictures):
    assert verify(archive) == verify(shared_bundle)
    out = io.StringIO()
    assert predict(archive, [pictures / "0.png"], out=out) == 0
    assert out.getvalue().count("\n") == 2


def test_incomplete_zip_files_are_refused(archive, tmp_path):
    content = archive.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError):
        verify(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as packed:
        for folder in ("a", "b"):
            packed.writestr(f"{folder}/SHA256SUMS", "x")
    with pytest.raises(BundleError, match="SHA256SUMS occurs twice"):
        verify(tmp_path / "twice.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(BundleError, match="SHA256SUMS is missing; it is not a bundle"):
        verify(tmp_path / "empty.zip")


def test_a_changed_byte_of_a_zip_file_is_a_message(archive, tmp_path):
    content = archive.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 60):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "a.zip").write_bytes(changed)
        with suppress(BundleError, DifferentOutputsError):  # some bytes mean nothing
            verify(tmp_path / "a.zip")
