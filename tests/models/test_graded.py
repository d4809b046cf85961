import functools
import json

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data import Dataset
from limbeck.models import MLP, ConvNet, Graded, TorchvisionModel, load_model, save_model
from limbeck.models.bias import add_to_logits
from limbeck.study.arms import build
from limbeck.training.cohort.stack import Cohort


def of_scores(classes=5):
    """A Graded whose input is the score itself."""
    return Graded(nn.Identity(), classes)


@settings(deadline=None)
@given(score=st.floats(-3, 8), classes=st.integers(2, 7))
def test_the_top_class_is_the_nearest_grade(score, classes):
    top = int(of_scores(classes)(torch.tensor([[score]], dtype=torch.float64)).argmax())
    nearest = min(max(score, 0), classes - 1)
    assert abs(top - nearest) <= 0.5 + 1e-9


@settings(deadline=None)
@given(score=st.floats(-5, 9))
def test_logits_are_those_of_the_formula(score):
    logits = of_scores()(torch.tensor([[score]], dtype=torch.float64))[0]
    by_hand = [k * score - sum(j - 0.5 for j in range(1, k + 1)) for k in range(5)]
    assert logits.tolist() == pytest.approx(by_hand)
    assert float(logits[1] - logits[0] + 0.5) == pytest.approx(score)
    around = -(torch.arange(5, dtype=torch.float64) - score).square() / 2  # a bell about the score
    torch.testing.assert_close(logits.softmax(0), around.softmax(0))


def test_thresholds_lie_between_the_grades_and_can_be_moved():
    model = of_scores()
    assert model.thresholds.tolist() == [0.5, 1.5, 2.5, 3.5]
    offsets = torch.tensor([0.0, 1.0, 0.5, 0.25, 0.75])
    inputs = torch.linspace(-2, 6, 9)[:, None]
    before = model(inputs)
    assert add_to_logits(model, offsets, inputs)
    torch.testing.assert_close(model(inputs), before + offsets)
    assert model.thresholds.tolist() == [-0.5, 2.0, 2.75, 3.0]


def test_an_encoder_is_a_module_or_a_function():
    x = torch.rand(3, 1, 8, 8)
    new_model = Graded(functools.partial(ConvNet, channels=[4], strides=[2]), 4, shape=(1, 8, 8))
    assert (new_model(x).shape, new_model.name) == ((3, 4), "graded convnet 4")
    own = Graded(nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0)), 4)
    assert (own(x).shape, own.name, own.arguments) == ((3, 4), "graded Sequential", None)


@pytest.mark.parametrize(
    ("encoder", "classes", "message"),
    [
        (nn.Identity(), 1, "at least two grades, but the dataset has 1"),
        (5, 3, "encoder=5 should be a module"),
        (ConvNet, 3, "should be a module, or a function"),
        (lambda shape, classes: 5, 3, "torch.nn.Module, found int"),
    ],
)
def test_a_bad_encoder_is_refused(encoder, classes, message):
    with pytest.raises(ConfigError, match=message):
        Graded(encoder, classes, shape=(1, 4, 4) if "found" in message else None)


@pytest.mark.parametrize(
    "encoder",
    [
        functools.partial(MLP, hidden=[5]),
        functools.partial(ConvNet, channels=[4, 4], strides=[1, 2]),
        functools.partial(TorchvisionModel, name="shufflenet_v2_x0_5"),
    ],
    ids=["mlp", "convnet", "torchvision"],
)
@pytest.mark.filterwarnings("ignore:.*stem for images")
def test_a_saved_model_is_rebuilt(tmp_path, encoder):
    x = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    data = Dataset.from_arrays(x, torch.arange(8) % 4, x, torch.arange(8) % 4, ordinal=True)
    model = build(functools.partial(Graded, encoder=encoder), data, 0).eval()
    save_model(model, tmp_path, class_names=data.class_names)
    again = load_model(tmp_path).model
    torch.testing.assert_close(again(x.float() / 255), model(x.float() / 255))


def test_a_changed_description_is_refused(tmp_path):
    save_model(Graded(MLP, 3, shape=(4,)), tmp_path, class_names=["a", "b", "c"])
    file = tmp_path / "model.json"
    description = json.loads(file.read_text())
    for encoder in (
        {"builder": "os.system", "arguments": {}},
        {},
        5,
        {"builder": "mlp", "arguments": {"shape": [4]}},
    ):
        file.write_text(json.dumps(description | {"arguments": {"classes": 3, "encoder": encoder}}))
        with pytest.raises(UntrustedFileError, match=r"model\.json: the model cannot be built"):
            load_model(tmp_path)


def test_stacked_students_give_the_logits_that_each_gives_alone():
    models = [Graded(functools.partial(MLP, hidden=[6]), 4, shape=(5,)) for _ in range(3)]
    x = torch.rand(3, 7, 5)
    alone = torch.stack([model(inputs) for model, inputs in zip(models, x, strict=True)])
    torch.testing.assert_close(Cohort([models])(x)[0], alone)


def test_sizes_deep_in_a_description_are_checked(tmp_path, monkeypatch):
    """Else a file could have weights fetched, or memory taken, by a model within a model within a
    model.
    """
    fetched = []
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, **_: fetched.append(1) or {})
    save_model(Graded(MLP((4,), 1, hidden=[3]), 5), tmp_path, class_names=list("01234"))
    file = tmp_path / "model.json"
    described = json.loads(file.read_text())
    resnet = {"shape": [3, 8, 8], "classes": 1, "name": "resnet18", "pretrained": True}
    inside = {"classes": 2, "encoder": {"builder": "torchvision", "arguments": resnet}}
    described["arguments"]["encoder"] = {"builder": "graded", "arguments": inside}
    file.write_text(json.dumps(described))
    with pytest.raises(UntrustedFileError, match="cannot be built"):
        load_model(tmp_path)
    assert fetched == []
