"""Columns that a table cannot use as they are: rounded or constant numbers, and missing ones."""

import pytest

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data import table


@pytest.fixture
def read(tmp_path):
    def read(rows, label="y", **settings):
        file = tmp_path / "data.csv"
        file.write_text("\n".join(rows) + "\n")
        return table(file, label=label, **settings)

    return read


@pytest.mark.parametrize("offset", [1.7e9, 1e12])
def test_numbers_that_float32_would_make_equal(read, offset):
    rows = ["t,x,y", *(f"{offset + n:.0f},{n},{n % 2}" for n in range(80))]
    with pytest.warns(LimbeckWarning, match=r"column t has values around .* differences between"):
        read(rows)
    with pytest.raises(DataError, match=r": t .* [Ss]ubtract a constant"):
        read(rows, label="t", task="regression")


def test_large_numbers_that_differ_enough_are_no_warning(read, recwarn):
    rows = ["t,x,y", *(f"{1e6 + 1000 * n:.0f},{n},{n % 2}" for n in range(80))]
    read(rows, ignore=["x"])
    assert not [str(entry.message) for entry in recwarn if "float32" in str(entry.message)]


def test_constant_values_to_predict(read):
    rows = ["x,y,z", *(f"{n},3,{n % 2}" for n in range(60))]
    with pytest.raises(DataError, match=": y is 3 in all training samples"):
        read(rows, task="regression", ignore=["z"])


@pytest.mark.parametrize("setting", ["id", "split", "group", "categorical", "ignore"])
def test_a_missing_column_is_named_with_its_setting(read, setting):
    with pytest.raises(DataError, match=rf"column zzzz is missing.*Set data.{setting}="):
        read(["x,y", *(f"{n},{n % 2}" for n in range(60))], **{setting: "zzzz"})


def test_a_circle_of_links_is_no_table(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(DataError, match=r"loop.csv"):
        table(tmp_path / "loop.csv", label="y")
