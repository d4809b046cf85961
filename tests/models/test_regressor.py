"""A regressor has values in the units of the targets, saved, rebuilt and stacked."""

import functools
import json

import pytest
import torch
from support.regressions import dataset
from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.models import MLP, Regressor, load_model, save_model
from limbeck.models.bag import BagOfEmbeddings
from limbeck.models.protocols import CustomFiles
from limbeck.models.text_cnn import TextCNN
from limbeck.models.text_encoder import TextEncoder
from limbeck.study.arms import build
from limbeck.training.cohort.layers import stacked_forward
from limbeck.training.cohort.stack import Cohort

SMALL = functools.partial(MLP, hidden=[5])


def test_values_are_scaled_to_the_units_of_the_targets():
    model = Regressor(nn.Identity(), [10.0, -1.0], [2.0, 0.5])
    assert model(torch.tensor([[0.0, 0.0], [1.0, -2.0]])).tolist() == [[10, -1], [12, -2]]


def test_a_student_of_a_regression_is_a_regressor_with_the_statistics_of_the_training_split():
    data = dataset(targets=2)
    model = build(SMALL, data, 0)
    y = data.train.labels.double()
    torch.testing.assert_close(model.net.mean.double(), y.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(model.net.std.double(), y.std(0), rtol=1e-5, atol=0)
    assert model.name == "4-5-2"


def test_it_is_rebuilt_from_its_files(tmp_path):
    data = dataset(targets=2)
    model = build(SMALL, data, 0).eval()
    save_model(model, tmp_path, class_names=data.class_names)
    loaded = load_model(tmp_path).model
    x = data.val.inputs
    assert torch.equal(loaded(x), model(x))
    assert json.loads((tmp_path / "model.json").read_text())["builder"] == "regressor"


@pytest.mark.parametrize("builder", [BagOfEmbeddings, TextCNN, TextEncoder])
def test_networks_for_texts_are_rebuilt_too(tmp_path, builder):
    net = builder((6,), 2, vocabulary=11, padding=0)
    model = Regressor(net, [3.0, -1.0], [2.0, 5.0]).eval()
    save_model(model, tmp_path, class_names=["a", "b"])
    ids = torch.tensor([[4, 5, 10, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    assert torch.equal(load_model(tmp_path).model(ids), model(ids))


def test_sizes_of_networks_for_texts_inside_are_checked(tmp_path):
    net = TextEncoder((6,), 1, vocabulary=11, padding=0)
    save_model(Regressor(net, [3.0], [2.0]), tmp_path, class_names=["a"])
    file = tmp_path / "model.json"
    content = json.loads(file.read_text())
    content["arguments"]["net"]["arguments"]["layers"] = 10**6
    file.write_text(json.dumps(content))
    with pytest.raises(UntrustedFileError, match="layers 1000000 in a file of"):
        load_model(tmp_path)


def test_models_with_files_of_their_own_are_refused():
    class Own(nn.Module, CustomFiles):
        def save(self, folder):
            raise NotImplementedError

        def load_weights(self, weights):
            raise NotImplementedError

        def extra_facts(self):
            raise NotImplementedError

    with pytest.raises(ConfigError, match="Own predicts classes and labels, not values"):
        Regressor(Own(), [0.0], [1.0])


def test_a_regressor_in_a_regressor_is_refused(tmp_path):
    data = dataset()
    save_model(build(SMALL, data, 0), tmp_path, class_names=data.class_names)
    file = tmp_path / "model.json"
    content = json.loads(file.read_text())
    inner = {"builder": "regressor", "arguments": content["arguments"]}
    file.write_text(json.dumps({**content, "arguments": {**content["arguments"], "net": inner}}))
    with pytest.raises(UntrustedFileError, match="cannot be built"):
        load_model(tmp_path)


def test_weights_of_a_users_own_network_keep_their_units(tmp_path):
    data = dataset()
    own = SMALL(shape=(4,), classes=1)
    torch.save(own.state_dict(), tmp_path / "own.pt")
    loaded = load_model(tmp_path / "own.pt", lambda: build(SMALL, data, 0)).model
    x = data.val.inputs
    assert torch.equal(loaded(x), own.eval()(x))


def test_stacked_students_compute_what_each_computes_alone():
    data = dataset(targets=2)
    models = [build(SMALL, data, seed) for seed in range(3)]
    assert stacked_forward(models[0]) is not None
    x = data.val.inputs[:6]
    values = Cohort([models])(x.expand(3, *x.shape))
    for seed, model in enumerate(models):
        torch.testing.assert_close(values[0, seed], model(x))


def test_there_is_a_standard_deviation_for_each_mean():
    with pytest.raises(ConfigError, match="got 2 and 1"):
        Regressor(nn.Identity(), [0.0, 1.0], [1.0])
