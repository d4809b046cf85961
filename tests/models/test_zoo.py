"""Models of torchvision and timm by name, and classifiers on any encoder."""

import json
import warnings

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError, LimbeckWarning, ResourceError, UntrustedFileError
from limbeck.models import Classifier, Normalized, TorchvisionModel, load_model, save_model
from limbeck.models import zoo as zoo_module
from limbeck.models.files.rebuild import read_description, rebuild
from limbeck.models.files.weights import read_weights
from limbeck.models.zoo import LIBRARIES, check_name

timm = pytest.importorskip("timm")
NAMES = ["a", "b", "c"]
SMALL = (
    pytest.param("torchvision/resnet18", marks=pytest.mark.slow),
    "torchvision/mobilenet_v3_small",
    pytest.param("torchvision/regnet_x_400mf", marks=pytest.mark.slow),
    "timm/mobilenetv3_small_050",
    "timm/vit_tiny_patch16_224",
    "timm/levit_128s",
)


def new_model(name, shape, classes=3, **options):
    library, _, model = name.partition("/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        return LIBRARIES[library](shape, classes, name=model, **options)


@pytest.mark.parametrize("name", SMALL)
def test_a_model_fits_any_channels_and_classes(name):
    for shape in ((1, 64, 64), (5, 96, 96)):
        model = new_model(name, shape).eval()
        x = torch.rand(2, *shape)
        assert model(x).shape == (2, 3)
        assert torch.equal(model(x), model(x.flatten(1))), "flat images are accepted"
        assert model.name == name.partition("/")[2]


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18"])
def test_small_images_get_a_small_stem(name):
    small, large = new_model(name, (3, 32, 32)).net, new_model(name, (3, 65, 65)).net
    assert (small.conv1.kernel_size, small.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(small.maxpool, nn.Identity)
    assert (large.conv1.kernel_size, large.conv1.stride) == ((7, 7), (2, 2))
    own = sum(p.numel() for p in large.parameters()) - sum(p.numel() for p in small.parameters())
    assert own == 64 * 3 * (49 - 9)


def test_a_resnet18_for_cifar_has_the_known_number_of_parameters():
    """11,173,962 with the small stem and ten classes: counted by hand, and found in many tables."""
    convolutions = 27 * 64 + 4 * 9 * 64 * 64
    for wide in (128, 256, 512):
        convolutions += 9 * wide * wide // 2 + 3 * 9 * wide * wide + wide * wide // 2
    norms = 2 * (5 * 64 + 5 * 128 + 5 * 256 + 5 * 512)
    assert sum(
        p.numel() for p in new_model("torchvision/resnet18", (3, 32, 32), 10).parameters()
    ) == (convolutions + norms + 5130)
    assert convolutions + norms + 5130 == 11_173_962


def test_small_images_without_a_small_stem_are_warned_about():
    zoo_module._warn.cache_clear()
    for name, remedy in (("resnet18", "stem=auto"), ("mobilenet_v3_small", "larger images")):
        with pytest.warns(
            LimbeckWarning, match=f"{name} has a stem for images of 224 x 224.*28 x 28.*{remedy}"
        ):
            TorchvisionModel((1, 28, 28), 3, name=name, stem="imagenet")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        new_model("torchvision/resnet18", (1, 28, 28))
        new_model("torchvision/mobilenet_v3_small", (1, 96, 96))


@pytest.mark.parametrize("name", SMALL)
def test_round_trip_is_bitwise(tmp_path, name):
    """Also for models with tensors that are in no file (levit's table of positions)."""
    model = Normalized(new_model(name, (1, 64, 64)), [0.3], [0.2])
    model(torch.rand(4, 1, 64, 64))
    save_model(model.eval(), tmp_path, class_names=NAMES)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        result = load_model(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(3, 1, 64, 64)
    assert torch.equal(result.model(x), model(x))
    assert result.description["name"] == name.partition("/")[2]


@pytest.fixture(scope="module")
def saved_resnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    save_model(new_model("timm/test_resnet", (1, 64, 64)), folder, class_names=NAMES)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 10**9},
        {"classes": "3"},
        {"shape": [10**6, 64, 64]},
        {"shape": [1, 10**6, 64]},
        {"shape": [1]},
        {"name": "hf-hub:someone/model"},
        {"name": 3},
        {"pretrained": True},
        {"stem": []},
        {"weights": "there"},
    ],
    ids=str,
)
def test_a_changed_description_is_refused(saved_resnet, changes):
    file = saved_resnet / "model.json"
    description = read_description(file)
    description["arguments"] |= changes
    with pytest.raises(UntrustedFileError, match="cannot be built"):
        rebuild(description, file, read_weights(saved_resnet / "model.safetensors"))


@pytest.mark.parametrize(
    ("library", "name", "message"),
    [
        ("torchvision", "resnet1", "Did you mean torchvision/"),
        ("timm", "resnet18x", "Did you mean timm/resnet18"),
        ("timm", "zzz", "has no classification model 'zzz'. timm.list"),
        ("torchvision", "deeplabv3_resnet50", "is a model for segmentation, but limbeck trains"),
        ("torchvision", "fasterrcnn_resnet50_fpn", "is a model for object detection"),
        ("torchvision", "r3d_18", "is a model for video"),
        ("torchvision", "raft_large", "is a model for optical flow"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(library, name, message):
    with pytest.raises(ConfigError, match=message):
        check_name(library, name)


def test_a_missing_timm_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(zoo_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[timm\]'"):
        check_name("timm", "resnet18")


def test_pretrained_weights_are_taken_where_they_fit(monkeypatch):
    theirs = torchvision.models.resnet18()
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, **_: theirs.state_dict())
    same = new_model("torchvision/resnet18", (3, 72, 72), 1000, pretrained=True).eval()
    x = torch.rand(2, 3, 72, 72)
    torch.testing.assert_close(same(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)
    grey = new_model("torchvision/resnet18", (1, 72, 72), 3, pretrained=True)
    torch.testing.assert_close(grey.net.conv1.weight, theirs.conv1.weight.sum(1, keepdim=True))
    small = new_model("torchvision/resnet18", (3, 32, 32), 3, pretrained=True).net
    assert small.conv1.weight.shape == (64, 3, 3, 3)
    assert torch.equal(small.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_without_a_network_pretrained_weights_are_a_resource_error(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    monkeypatch.setattr(torch.hub.os, "makedirs", lambda *_, **__: None)
    with pytest.raises(
        ResourceError, match=r"torchvision/resnet18 could not be downloaded \(no route to host\)"
    ):
        new_model("torchvision/resnet18", (3, 32, 32), pretrained=True)
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *a, **k: refuse() if k.get("pretrained") else create(*a, **k)
    )
    with pytest.raises(ResourceError, match="timm/resnet18 could not be downloaded"):
        new_model("timm/resnet18", (3, 32, 32), pretrained=True)
    with pytest.raises(ConfigError, match="no pretrained weights for"):
        new_model(
            "timm/test_vit4" if timm.is_model("test_vit4") else "timm/resnet10t.none",
            (3, 160, 160),
            pretrained=True,
        )


# Classifier ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::limbeck._base.errors.LimbeckWarning")
@pytest.mark.parametrize(
    ("encoder", "features"),
    [
        pytest.param(lambda: torchvision.models.resnet18(), 512, marks=pytest.mark.slow),
        (lambda: torchvision.models.mobilenet_v3_small(), 1024),
        (lambda: torchvision.models.squeezenet1_1(), 512),
        pytest.param(lambda: timm.create_model("resnet18"), 512, marks=pytest.mark.slow),
        (lambda: timm.create_model("mobilenetv3_small_050"), 1024),
        (lambda: "torchvision/resnet18", 512),
        (lambda: "timm/vit_tiny_patch16_224", 192),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 7), nn.ReLU()), 7),
        (lambda: nn.Conv2d(3, 6, 3), 6),
    ],
)
def test_any_encoder_gets_a_linear_layer(encoder, features):
    model = Classifier(encoder(), 4, shape=(3, 64, 64))
    assert model.training
    assert all(part.training for part in model.modules())
    assert model.head.in_features == features
    x = torch.rand(2, 3, 64, 64)
    assert model.eval().features(x).shape == (2, features)
    torch.testing.assert_close(model(x), model.features(x) @ model.head.weight.T + model.head.bias)


def test_inferring_the_width_changes_nothing():
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    encoder[2].eval()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    Classifier(encoder, 2, shape=(1, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert [part.training for part in encoder] == [True, True, False]


@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 9), classes=st.integers(1, 9), is_given=st.booleans())
def test_the_inferred_width_is_the_known_one(width, classes, is_given):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, width))
    model = Classifier(encoder, classes, shape=(1, 2, 2), features=width if is_given else None)
    assert model(torch.zeros(3, 1, 2, 2)).shape == (3, classes)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet18", "should be torchvision/NAME or timm/NAME"),
        ("torchvision/", "should be torchvision/NAME"),
        (nn.Linear(3, 4), "cannot read inputs of shape"),
        (nn.Flatten(0), r"returns \[192\] for one input"),
        (nn.Flatten(2), r"returns \[1, 3, 64\] for one input"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(encoder, message):
    with pytest.raises(ConfigError, match=message):
        Classifier(encoder, 2, shape=(3, 8, 8))


def test_a_classifier_is_rebuilt_from_its_description(tmp_path):
    model = Normalized(
        Classifier("torchvision/resnet18", 3, shape=(1, 32, 32)), [0.1], [0.2]
    ).eval()
    save_model(model, tmp_path / "named", class_names=NAMES)
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(load_model(tmp_path / "named").model(x), model(x))
    assert model.name == "resnet18 + linear"
    own = Classifier(nn.Flatten(), 3, shape=(1, 2, 2)).eval()
    save_model(own, tmp_path / "own", class_names=NAMES)
    assert json.loads((tmp_path / "own" / "model.json").read_text())["builder"] is None
    result = load_model(tmp_path / "own", lambda: Classifier(nn.Flatten(), 3, shape=(1, 2, 2)))
    assert torch.equal(result.model(x[..., :2, :2]), own(x[..., :2, :2]))
