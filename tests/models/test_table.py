import json

import numpy as np
import pytest
import torch
from support.tables import COLUMNS, NAN, table_dataset

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.files import write_json
from limbeck.models import MLP, Graded, TableEncoder, TableModel, load_model, save_model

ROWS = torch.tensor([[3.0, 2, NAN], [NAN, 0, 8.0], [1.0, NAN, 4.0]])


def encoder(gaps=(True, False, True)):
    return TableEncoder([0, 3, 0], [1.0, 5.0, 2.0], [2.0, 5.0, 4.0], gaps)


def test_numbers_are_standardised_and_categories_have_an_output_each():
    expected = [
        [1.0, 0.0, 0, 0, 1, 0, 1],
        [0.0, 1.5, 1, 0, 0, 1, 0],
        [0.0, 0.5, 0, 0, 0, 0, 0],
    ]
    layer = encoder()
    assert torch.equal(layer(ROWS), torch.tensor(expected))
    assert layer.width == 7
    assert torch.equal(layer(ROWS.expand(2, 3, 3))[1], torch.tensor(expected))


@pytest.mark.parametrize(
    ("sizes", "gaps", "width"), [([0, 0], [0, 0], 2), ([2, 3], [0, 0], 5), ([1, 0], [1, 1], 4)]
)
def test_tables_of_one_kind_of_column(sizes, gaps, width):
    layer = TableEncoder(sizes, [0.0, 0.0], [1.0, 1.0], gaps)
    assert layer(torch.zeros(4, 2)).shape == (4, width)
    assert layer.width == width


def test_training_rows_are_encoded_with_mean_0_and_deviation_1():
    data = table_dataset()
    layer = TableEncoder(COLUMNS.sizes, *data.statistics, data.gaps)
    assert data.gaps == [False, True, True]
    assert layer.width == 2 + 3 + 2
    x = data.train.inputs.numpy().astype(np.float64)
    encoded = layer(data.train.inputs).double().numpy()
    for output, column in ((0, 0), (1, 2)):
        values = x[:, column]
        is_there = ~np.isnan(values)
        mean, std = values[is_there].mean(), values[is_there].std(ddof=1)
        expected = np.where(is_there, (values - mean) / std, 0)
        np.testing.assert_allclose(encoded[:, output], expected, atol=1e-5)


@pytest.mark.parametrize("values", [[7.0, 7.0], [NAN, NAN], [7.0, NAN]])
def test_a_column_with_at_most_one_value(values):
    data = table_dataset()
    data.train.inputs[:, 0] = torch.tensor(values).repeat(len(data.train) // 2)
    mean, std = data.statistics
    assert mean[0] == (0 if np.isnan(values).all() else 7)
    assert std[0] == 1


def model(net):
    return TableModel(net, encoder())


@pytest.mark.parametrize("net", [MLP((7,), 2, hidden=[5]), Graded(MLP((7,), 1, hidden=[5]), 4)])
def test_a_saved_model_encodes_rows_in_the_same_way(net, tmp_path):
    before = model(net).eval()
    names = ["a", "b", "c", "d"][: before(ROWS).shape[1]]
    save_model(before, tmp_path, class_names=names)
    after = load_model(tmp_path).model
    assert isinstance(after, TableModel)
    assert torch.equal(after(ROWS), before(ROWS))
    assert after.name == before.name
    assert after.settings() == before.settings()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sizes", [0, 1 << 40, 0]),
        ("sizes", [0, 2, 0]),
        ("sizes", [0, 3.0, 0]),
        ("sizes", [0, "3", 0]),
        ("sizes", [0, -3, 0]),
        ("sizes", {}),
        ("sizes", None),
        ("mean", [0.0]),
        ("mean", ["a", "b", "c"]),
        ("gaps", [True] * 3),
        ("gaps", 1),
    ],
)
def test_a_damaged_description_is_one_message(key, value, tmp_path):
    save_model(model(MLP((7,), 2, hidden=[5])), tmp_path, class_names=["a", "b"])
    file = tmp_path / "model.json"
    description = json.loads(file.read_text())
    description["normalize"][key] = value
    write_json(file, description)
    with pytest.raises(UntrustedFileError, match=r"model\.json: the model cannot be built from it"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ([], [], [], []),
        ([0], [0.0], [1.0], []),
        ([0, 1], [0.0], [1.0], [False]),
        ([-1], [0.0], [1.0], [False]),
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ConfigError):
        TableEncoder(*arguments)
