import json
import shutil

import pytest
import torch
from support.bundles import LABELS, SHAPE, images, write_bundle
from support.onnx_files import WEIGHT, content

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck._base.runtime.bundle import Bundle
from limbeck.models import MLP, Normalized, save_model
from limbeck.teacher.estimator import EstimatorTeacher
from limbeck.teacher.files import NoCopyError, find_members, load_member, load_other, save_teacher
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.onnx_model import OnnxTeacher

X = torch.rand(3, 1, 4, 4)
NAMES = list("abc")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


def test_a_bundle_answers_as_its_runtime(bundle, tmp_path):
    pixels = images(5)
    expected = Bundle(bundle).load("fp32").logits(pixels)
    shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle)
    for place in (bundle, tmp_path / "bundle.zip"):
        loaded = load_other(place)
        logits = loaded.model(torch.from_numpy(pixels) / 255)
        torch.testing.assert_close(logits, torch.from_numpy(expected))
        assert loaded.description["class_names"] == LABELS
    assert pixels.shape[1:] == SHAPE


def test_a_damaged_bundle_is_one_message(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    file = tmp_path / "bundle" / "model.onnx"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UntrustedFileError, match=r"model\.onnx is damaged or was changed"):
        load_other(tmp_path / "bundle")


def test_other_paths_are_left_to_others(tmp_path):
    (tmp_path / "weights.zip").write_bytes(b"PK\x03\x04")
    save_model(MLP((4,), 3, hidden=[2]), tmp_path / "saved", class_names=NAMES)
    for place in ("weights.zip", "saved", "none", "saved/model.safetensors"):
        assert load_other(tmp_path / place) is None


def test_a_file_of_answers_is_no_model(tmp_path):
    (tmp_path / "answers.csv").write_text("id,logit_0,logit_1")
    with pytest.raises(TeacherError, match=r"teacher\.answers=.*limbeck\.Answers\('"):
        load_other(tmp_path / "answers.csv")


def onnx_teacher():
    return OnnxTeacher(content(), "my.onnx", classes=3)


@pytest.mark.parametrize("wrap", [lambda model: model, lambda m: Normalized(m, [0.5], [0.2])])
def test_the_copy_in_a_run_folder_answers_as_the_original(wrap, tmp_path):
    model = wrap(onnx_teacher()).eval()
    save_teacher(model, tmp_path, class_names=NAMES)
    loaded = load_member(tmp_path / "model.safetensors")
    torch.testing.assert_close(loaded.model(X), model(X))
    assert loaded.description["class_names"] == NAMES
    assert loaded.description["name"] == "my.onnx"
    assert loaded.description["params"] == WEIGHT.size
    assert find_members(tmp_path) == [tmp_path / "model.safetensors"]


def test_a_copy_keeps_the_size_of_its_inputs(tmp_path):
    model = Normalized(OnnxTeacher(content(shape=("N", 16)), "m.onnx"), [0.0], [1.0], size=4).eval()
    save_teacher(model, tmp_path, class_names=NAMES)
    x = torch.rand(2, 1, 9, 9)
    torch.testing.assert_close(load_member(tmp_path / "model.safetensors").model(x), model(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(content(weight=WEIGHT * 2)), "SHA-256"),
        (lambda folder: (folder / "model.onnx").unlink(), "does not exist"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "SHA-256 differs"),
        (lambda folder: rewrite(folder, normalize={"mean": "x"}), "normalisation is damaged"),
        (lambda folder: rewrite(folder, normalize=3), "normalisation is damaged"),
        (
            lambda folder: rewrite(folder, normalize={"mean": [0], "std": [1], "size": 10**9}),
            "normalisation is damaged",
        ),
    ],
)
def test_changed_copies_are_one_message(change, message, tmp_path):
    save_teacher(onnx_teacher(), tmp_path, class_names=NAMES)
    change(tmp_path)
    with pytest.raises((UntrustedFileError, TeacherError), match=message):
        load_member(tmp_path / "model.safetensors")


def rewrite(folder, **changes):
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


class Constant:
    """An estimator of one answer."""

    def predict_proba(self, features):
        return torch.full((len(features), 3), 1 / 3).numpy()


@pytest.mark.parametrize(
    "model", [FunctionTeacher(lambda x: x), EstimatorTeacher(Constant(), NAMES)]
)
def test_there_is_no_copy_of_an_object_of_python(model, tmp_path):
    save_teacher(model, tmp_path, class_names=NAMES)
    with pytest.raises(NoCopyError, match=r"object of a Python program .*Pass it again in Python"):
        load_member(tmp_path / "model.safetensors")
