"""Descriptions that build no model are refused, and none of them runs code or takes memory."""

import json
import time

import pytest
import torch
from support.saved_models import NAMES, Own, rewrite
from torch import nn

from limbeck._base.errors import LimbeckError, TeacherError, UntrustedFileError
from limbeck.models import MLP, Classifier, load_model, load_weights, save_model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged"),
        ("not json", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"format": ' + "9" * 5000 + "}", "is damaged"),
        ("[1]", "is not a model description of format 1"),
        ("{}", "is not a model description of format 1"),
        ('{"format": 2}', "is not a model description of format 1"),
        ("null", "is not a model description of format 1"),
    ],
    ids=lambda text: text[:12],
)
def test_a_description_of_another_form_is_refused(saved, content, message):
    (saved / "model.json").write_text(content)
    with pytest.raises(UntrustedFileError, match=message) as caught:
        load_model(saved)
    assert str(saved / "model.json") in str(caught.value)
    assert "__" not in str(caught.value).replace("__import__", "").replace("_target_", "")
    assert "object" not in str(caught.value).replace("an object", "")
    (saved / "model.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UntrustedFileError, match="is damaged"):
        load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"builder": "torch.hub.load"},
        {"builder": ["mlp"]},
        {"builder": 7},
        {"builder": "__import__"},
        {"arguments": None},
        {"arguments": []},
        {"arguments": "mlp"},
        {"arguments": {}},
        {"arguments": {"shape": [4], "classes": 3, "hidden": ["a"]}},
        {"arguments": {"shape": [4], "classes": 3, "dropout": "much"}},
        {"arguments": {"shape": [4], "classes": 3, "max_norm": "much"}},
        {"arguments": {"shape": 4, "classes": 3}},
        {"arguments": {"shape": [4], "classes": "3"}},
        {"arguments": {"shape": [4], "classes": -3}},
        {"arguments": {"shape": [-4], "classes": 3}},
        {"arguments": {"shape": [4], "classes": 3, "_target_": "os.system"}},
        {
            "builder": "convnet",
            "arguments": {"shape": [1, 2, 2], "classes": 3, "channels": "ab", "strides": [1, 1]},
        },
        {"normalize": 5},
        {"normalize": {"mean": [0.5]}},
        {"normalize": {"mean": ["a"], "std": [1]}},
        {"class_names": 5},
        {"class_names": "abc"},
        {"class_names": [1, 2, 3]},
    ],
    ids=lambda c: json.dumps(c)[:60],
)
def test_a_description_that_builds_no_model_is_refused(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(UntrustedFileError) as caught:
        load_model(saved)
    assert str(saved / "model.json") in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": [4], "classes": 3, "hidden": [10**6, 10**6, 10**6]},
        {"shape": [4], "classes": 3, "hidden": [2**62]},
        {"shape": [4], "classes": 3, "hidden": [10**30]},
        {"shape": [2**40, 2**40], "classes": 3},
        {"shape": [4], "classes": 10**15},
        {"shape": [4], "classes": 3, "hidden": [100_000, 100_000]},
    ],
    ids=str,
)
def test_absurd_sizes_take_no_memory(saved, arguments, monkeypatch):
    """Sizes are compared with the file before memory is asked for."""

    def refuse(*args, **kwargs):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr(nn.Module, "to_empty", refuse)
    rewrite(saved, arguments=arguments)
    with pytest.raises(LimbeckError, match=r"cannot be built|does not fit") as caught:
        load_model(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("mlp", {"shape": [4], "classes": 3, "hidden": [1] * 100_000}),
        ("convnet", {"classes": 3, "channels": [1] * 100_000, "strides": [1] * 100_000}),
        ("gpt", {"shape": [8], "classes": 3, "layers": 100_000}),
        ("torchvision", {"classes": 3, "name": "vit_h_14"}),
        ("torchvision", {"classes": 3, "name": "regnet_y_128gf"}),
        ("timm", {"classes": 3, "name": "vit_giant_patch14_224"}),
        ("classifier", {"classes": 3, "encoder": "torchvision/vgg19"}),
        ("graded", {"builder": "torchvision", "name": "regnet_y_128gf"}),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_large_models_beside_small_files_take_neither_memory_nor_time(saved, builder, arguments):
    arguments = {"shape": [3, 224, 224], **arguments}
    if builder == "graded":
        inner = {"builder": arguments.pop("builder"), "arguments": arguments | {"classes": 5}}
        arguments = {"classes": 3, "encoder": inner}
    rewrite(saved, builder=builder, arguments=arguments, normalize=None)
    start = time.monotonic()
    with pytest.raises(UntrustedFileError, match="in a file of"):
        load_model(saved)
    assert time.monotonic() - start < 5


def test_a_saved_classifier_of_large_images_reads_none_of_them(tmp_path, monkeypatch):
    """The number of features is found on the meta device, since an image would take minutes."""
    model = Classifier("torchvision/squeezenet1_1", 3, shape=(3, 64, 64))
    save_model(model, tmp_path, class_names=NAMES)
    arguments = json.loads((tmp_path / "model.json").read_text())["arguments"]
    rewrite(tmp_path, arguments=arguments | {"shape": [3, 4096, 4096]})
    devices = []
    forward = nn.Conv2d.forward

    def note(self, inputs):
        devices.append(inputs.device.type)
        return forward(self, inputs)

    monkeypatch.setattr(nn.Conv2d, "forward", note)
    loaded = load_model(tmp_path).model
    assert set(devices) == {"meta"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_a_target_is_never_imported(saved, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    rewrite(saved, _target_="evil_module.Evil", **{"class": "evil_module.Evil"})
    assert load_model(saved).model(torch.rand(1, 4)).shape == (1, 3)
    rewrite(saved, builder="evil_module.Evil")
    with pytest.raises(UntrustedFileError, match="expected one of mlp, convnet"):
        load_model(saved)
    rewrite(saved, builder=None)
    with pytest.raises(TeacherError, match="names your own class"):
        load_model(saved)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: MLP((4,), 3, hidden=[6]), "the model's has"),
        (lambda: MLP((4,), 3, hidden=[5, 5]), "it lacks layers.5.bias"),
        (lambda: MLP((4,), 3, hidden=()), "it also has layers.3.bias"),
        (Own, "it lacks first.bias"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, other, message):
    save_model(MLP((4,), 3, hidden=[5]), tmp_path, class_names=NAMES)
    with pytest.raises(TeacherError, match=message) as caught:
        load_weights(other(), tmp_path / "model.safetensors")
    assert str(tmp_path / "model.safetensors") in str(caught.value)


def test_a_description_of_another_size_is_refused(saved):
    arguments = json.loads((saved / "model.json").read_text())["arguments"]
    rewrite(saved, arguments=arguments | {"hidden": [6]})
    with pytest.raises(
        TeacherError, match=r"model\.safetensors does not fit the model 4-6-3: .*the model's has"
    ):
        load_model(saved)
