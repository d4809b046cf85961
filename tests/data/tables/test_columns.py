import numpy as np
import pytest
import torch

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import Dataset, Split, TableColumns

COLUMNS = TableColumns(("age", "colour"), (None, ("red", "green", "blue")))
NAN = float("nan")


def rows(count=12, first=20.5):
    """Rows with missing values in both columns, and their labels."""
    x = np.array([[first + row, row % 3] for row in range(count)], np.float32)
    x[0, 0] = x[1, 1] = NAN
    return x, np.arange(count) % 2


def test_rows_of_a_table_may_lack_values():
    data = Dataset.from_arrays(*rows(), *rows(6, 80), val=3, columns=COLUMNS)
    assert data.columns == COLUMNS
    assert data.head(4).columns == COLUMNS
    inputs = torch.cat([data.train.inputs, data.val.inputs])
    assert inputs.dtype == torch.float32
    assert inputs.isnan().sum() == 2
    again = Dataset.from_splits(
        "again", data.train, data.val, data.open_test(), class_names="ab", columns=COLUMNS
    )
    assert again.digest() == data.digest()
    assert again.columns == COLUMNS


def test_other_inputs_may_not():
    x, y = rows()
    x_test = x[2:] + 100
    with pytest.raises(DataError, match="sample 0 contains nan"):
        Dataset.from_arrays(*rows(), *rows(6))
    assert Dataset.from_arrays(x[2:], y[2:], x_test, y[2:], val=1).columns is None


def test_sizes():
    assert len(COLUMNS) == 2
    assert COLUMNS.sizes == (0, 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([float("inf"), 0], "sample 1 has inf in column age; expected a finite number"),
        ([1, 3], "sample 1 has 3 in column colour; expected the code of a category, 0 to 2"),
        ([1, -1], "column colour"),
        ([1, 0.5], "column colour"),
        ([1, float("inf")], "column colour"),
    ],
)
def test_a_wrong_value_is_named(row, message):
    inputs = torch.tensor([[1.0, 0.0], row])
    with pytest.raises(DataError, match=message):
        COLUMNS.check(inputs, "table")


@pytest.mark.parametrize("inputs", [torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 2).double()])
def test_inputs_of_another_form(inputs):
    split = Split(inputs, torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"a table of 2 columns has inputs \[N, 2\] of float32"):
        Dataset.from_splits("d", split, split, split, class_names="ab", columns=COLUMNS)


@pytest.mark.parametrize(
    ("names", "categories", "message"),
    [
        ((), (), "columns of different names"),
        (("a", "a"), (None, None), "columns of different names"),
        (("a", "b"), (None,), "2 columns has 1 entries in categories"),
        (("a",), ((),), "Column a has the categories"),
        (("a",), (("x", "x"),), "Column a has the categories"),
    ],
)
def test_wrong_columns(names, categories, message):
    with pytest.raises(ConfigError, match=message):
        TableColumns(names, categories)
