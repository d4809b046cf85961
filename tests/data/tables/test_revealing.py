import numpy as np
import pytest
import torch
from support.tables import NAN, table_dataset

from limbeck.data import Dataset, TableColumns
from limbeck.data.examination import examine_data
from limbeck.data.tables.revealing import revealing_columns


def dataset(column, labels, sizes=0, task="classes"):
    """Noise, then a column; labels of 300 rows."""
    x = np.stack([np.random.default_rng(0).normal(size=300), column], 1).astype(np.float32)
    kinds = None if sizes == 0 else tuple(map(str, range(sizes)))
    columns = TableColumns(("noise", "date"), (None, kinds))
    return Dataset.from_arrays(
        x[:250], labels[:250], x[250:], labels[250:], val=100, columns=columns, task=task
    )


def names_of(data):
    return [column.name for column in revealing_columns(data)]


LABELS = np.random.default_rng(1).integers(0, 2, 300)
DRAW = np.random.default_rng(2)


def test_a_column_that_is_there_for_one_class_alone():
    data = dataset(np.where(LABELS == 1, DRAW.normal(size=300), NAN), LABELS)
    assert names_of(data) == ["date"]
    finding = examine_data(data)[0]
    assert finding.level == "warning"
    assert "Column date predicts the label alone, 100 % of 100 rows" in finding.text
    assert "data.ignore=[date]" in finding.message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_categories_that_name_the_class(share):
    codes = np.where(DRAW.random(300) < share, 1 - LABELS, LABELS) + 2 * DRAW.integers(0, 2, 300)
    assert names_of(dataset(codes, LABELS, sizes=4)) == (["date"] if share < 0.1 else [])


def test_a_small_validation_split_is_replaced_by_training_rows():
    x = np.stack([DRAW.normal(size=300), LABELS], 1).astype(np.float32)
    columns = TableColumns(("noise", "copy"), (None, None))
    arrays = x[:250], LABELS[:250], x[250:], LABELS[250:]
    assert names_of(Dataset.from_arrays(*arrays, val=20, columns=columns)) == ["copy"]


def test_numbers_above_a_threshold():
    assert names_of(dataset(LABELS * 5 + DRAW.random(300), LABELS)) == ["date"]
    assert names_of(dataset(LABELS + DRAW.normal(size=300), LABELS)) == []


def test_values_in_another_unit():
    y = DRAW.normal(size=300).astype(np.float32)
    column = 2.54 * y + 3
    column[5] = NAN
    assert names_of(dataset(column, y, task="regression")) == ["date"]
    assert names_of(dataset(y + DRAW.normal(size=300), y, task="regression")) == []


def test_ordinary_tables_have_none():
    assert revealing_columns(table_dataset()) == []
    rare = np.zeros(300, int)
    rare[:3] = 1
    assert names_of(dataset(DRAW.normal(size=300), rare)) == []
    x = torch.randint(256, (40, 1, 4, 4)).to(torch.uint8)
    images = Dataset.from_arrays(x[:30], torch.arange(30) % 2, x[30:], torch.arange(10) % 2)
    assert revealing_columns(images) == []
