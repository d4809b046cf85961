"""Faults in the values of users' loaders."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck._base.errors import DataError
from limbeck.data.inputs import match_double
from limbeck.data.loaders import check_labels, dtype_fault, find_fault

X, Y = torch.rand(4, 3), torch.tensor([0, 1, 2, 1])


def test_double_inputs_become_float32_unless_the_model_is_double():
    double = X.double()
    assert match_double(double, nn.Linear(3, 2)).dtype == torch.float32
    assert match_double(double, nn.Linear(3, 2).double()) is double
    assert match_double(double, nn.Identity()) is double
    assert match_double(X, nn.Linear(3, 2).double()) is X


def test_unlabelled_samples_are_in_range():
    check_labels(torch.tensor([0, 2, -100]), 3, str)
    for bad in (-1, 3):
        labels = torch.tensor([[0, 1], [-100, bad]])
        with pytest.raises(DataError, match=rf"^1 has the label {bad}, but the model has 3 out"):
            check_labels(labels, 3, str)


def damaged(value):
    x = X.clone()
    x[2, 1] = value
    return TensorDataset(x, Y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fault_is_named_by_its_place_in_the_dataset(value):
    shuffled = DataLoader(damaged(value), batch_size=2, shuffle=True)
    fault = find_fault(shuffled, batches=9, classes=None)
    assert str(fault).startswith(f"Sample 2 of the loader's dataset contains {value} ")
    in_list = find_fault(list(DataLoader(damaged(value), batch_size=2)), batches=9, classes=3)
    assert str(in_list).startswith(f"Sample 0 of batch 1 of the loader contains {value} ")
    assert find_fault(list(shuffled), batches=0, classes=3) is None


def test_a_label_out_of_range_is_found_and_good_data_is_not_blamed():
    loader = DataLoader(TensorDataset(X, Y), batch_size=2)
    assert find_fault(loader, batches=float("inf"), classes=3) is None
    fault = find_fault(loader, batches=float("inf"), classes=2)
    assert str(fault).startswith("Sample 2 of the loader's dataset has the label 2")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_floats_of_another_type_are_named(dtype):
    x = torch.zeros(2, 3, dtype=dtype)
    with pytest.raises(RuntimeError) as error:
        nn.Linear(3, 2)(x)
    fault = dtype_fault(x, error.value)
    assert f"refuses inputs of {dtype}" in str(fault)
    assert "model.float()" in str(fault)
    assert dtype_fault(x.float(), RuntimeError("another error with dtype Half")) is None
