"""Every row of the table of checkpoints is tried with a file made here."""

import json
import warnings

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from support.documented_forms import Cases
from torch import nn

from limbeck._base.errors import LimbeckWarning
from limbeck.models import TimmModel, load_model
from limbeck.models.output import without_wrapper

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

CASES = Cases("## Checkpoints")
case = CASES.of


def test_every_row_has_a_case():
    assert list(CASES) == CASES.rows


@pytest.mark.parametrize("row", CASES.rows)
def test_checkpoints(row, tmp_path):
    CASES[row](tmp_path)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).relu())


def two():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))


def trained():
    torch.manual_seed(3)
    return two().eval()


def check_model(place, model=None, build=two, x=X, **options):
    model = (model or trained()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        result = load_model(place, build, **options).model
    with torch.no_grad():
        logits, expected = without_wrapper(result(x)), without_wrapper(model(x))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert {weight.dtype for weight in result.parameters()} == {torch.float32}


def below(prefix, state):
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


@case("a state dict")
def _state_dict(folder):
    state = trained().state_dict()
    for name in ("a.pt", "b.pth", "c.bin", "d"):
        torch.save(state, folder / name)
        check_model(folder / name)
    save_file(state, folder / "e.safetensors")
    check_model(folder / "e.safetensors")
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        model = trained().to(dtype)
        torch.save(model.state_dict(), folder / "f.pt")
        check_model(folder / "f.pt", model.float())


class Hyper(dict):
    """Hyper-parameters of a class that a reader does not have."""


@case("a checkpoint of Lightning")
def _lightning(folder):
    content = {
        "epoch": 3,
        "state_dict": below("model", trained().state_dict()),
        "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}],
        "hyper_parameters": Hyper(net=two(), options=Hyper(lr=0.1)),
    }
    torch.save(content, folder / "it.ckpt")
    check_model(folder / "it.ckpt")


@case("a state dict under a key")
def _key(folder):
    for key in ("model", "state_dict", "net", "anything"):
        torch.save({key: trained().state_dict(), "epoch": 1}, folder / "it.pt")
        check_model(folder / "it.pt")


@case("several models")
def _several(folder):
    for key in ("ema", "state_dict_ema", "model_ema"):
        torch.save({"model": two().state_dict(), key: trained().state_dict()}, folder / "it.pt")
        check_model(folder / "it.pt", key=key)


@case("several models in one state dict")
def _prefixes(folder):
    state = below("student", two().state_dict()) | below("teacher", trained().state_dict())
    torch.save({"state_dict": state}, folder / "it.pt")
    check_model(folder / "it.pt", key="teacher")


@case("names of wrappers")
def _wrappers(folder):
    state = trained().state_dict()
    for wrapper in ("module", "model", "_orig_mod", "_fsdp_wrapped_module"):
        inside = {name.replace(".", f".{wrapper}."): tensor for name, tensor in state.items()}
        for content in (below(wrapper, state), inside, below(f"module.{wrapper}", inside)):
            torch.save(content, folder / "it.pt")
            check_model(folder / "it.pt")


@case("traces of the training")
def _traces(folder):
    state = {"criterion.weight": torch.ones(3), "n_averaged": torch.ones(())}
    torch.save(state | below("module", trained().state_dict()), folder / "it.pt")
    check_model(folder / "it.pt")


@case("a file of torchvision")
def _torchvision(folder):
    theirs = torchvision.models.DenseNet(4, (1, 1), 4, 1, num_classes=3)
    state = {}
    for name, tensor in theirs.state_dict().items():
        for number in "12":
            for layer in ("norm", "conv"):
                name = name.replace(f".{layer}{number}.", f".{layer}.{number}.")
        state[name] = tensor
    assert any("denselayer1.norm.1" in name for name in state)
    torch.save(state, folder / "densenet.pth")

    def build():
        return torchvision.models.DenseNet(4, (1, 1), 4, 1, num_classes=3)

    x = torch.rand(2, 3, 32, 32)
    check_model(folder / "densenet.pth", theirs, build, x)


@case("a folder of timm")
def _timm(folder):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_resnet", num_classes=3)
    save_file(theirs.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text('{"architecture": "test_resnet", "num_classes": 3}')

    def build():
        return TimmModel((3, 32, 32), 3, name="test_resnet", stem="imagenet")

    check_model(folder, theirs, build, torch.rand(2, 3, 32, 32))


def image_model():
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], num_labels=3)
    return ResNetForImageClassification(config)


class Logits(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).logits


@case("a folder of transformers")
def _transformers(folder):
    theirs, x = image_model().eval(), torch.rand(2, 3, 16, 16)
    theirs.save_pretrained(folder)
    for build in (image_model, lambda: Logits(image_model())):
        check_model(folder, theirs, build, x)
    (folder / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    check_model(folder, theirs, image_model, x)


@case("weights in several files")
def _shards(folder):
    state = trained().state_dict()
    for name, suffix, save in (
        ("model", "safetensors", save_file),
        ("pytorch_model", "bin", torch.save),
    ):
        own = folder / suffix
        own.mkdir()
        files = {}
        for number, key in enumerate(state):
            files[key] = f"{name}-0000{1 + number % 2}-of-00002.{suffix}"
        for file in set(files.values()):
            save({key: state[key] for key in state if files[key] == file}, own / file)
        index = own / f"{name}.{suffix}.index.json"
        index.write_text(json.dumps({"weight_map": files}))
        for place in (own, index, own / file):
            check_model(place)


@case("a folder with one checkpoint")
def _folder(folder):
    torch.save({"state_dict": trained().state_dict()}, folder / "epoch=3.ckpt")
    torch.save({}, folder / "optimizer.pt")
    check_model(folder)


@case("shared weights")
def _shared(folder):
    model = Tied()
    for name in ("first", "second"):
        save_file({f"{name}.weight": model.first.weight.detach()}, folder / "it.safetensors")
        check_model(folder / "it.safetensors", model, Tied)
    torch.save(model.state_dict(), folder / "it.pt")
    check_model(folder / "it.pt", model, Tied)


@case("a whole pickled module")
def _module(folder):
    torch.save(nn.DataParallel(trained()), folder / "it.pt")
    check_model(folder / "it.pt")


@case("a file of before PyTorch 1.6")
def _old(folder):
    content = {"state_dict": trained().state_dict(), "args": Hyper(), "net": 3}
    torch.save(content, folder / "it.pt", _use_new_zipfile_serialization=False)
    check_model(folder / "it.pt")


@case("another pickle protocol")
def _protocol(folder):
    for protocol in (3, 4, 5):
        torch.save(trained().state_dict(), folder / "it.pt", pickle_protocol=protocol)
        check_model(folder / "it.pt")
