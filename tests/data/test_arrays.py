"""Arrays that are no images and no features are refused; samples in two splits are reported."""

import warnings

import numpy as np
import pytest
import torch

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data import Dataset

RANDOM = np.random.default_rng(0)
LABELS = np.arange(20) % 2


def floats(*shape):
    return RANDOM.random((20, *shape), dtype=np.float32)


def build(x, y=LABELS, x_test=None, y_test=LABELS, **options):
    return Dataset.from_arrays(x, y, x + 1 if x_test is None else x_test, y_test, **options)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.uint16, np.complex64])
def test_inputs_that_may_be_token_ids_are_refused(dtype):
    ids = RANDOM.integers(0, 50, (20, 12)).astype(dtype)
    for x in (ids, torch.from_numpy(ids)):
        with pytest.raises(DataError, match=rf"inputs are torch\.{ids.dtype}; expected uint8 im"):
            Dataset.from_arrays(x, LABELS, x, LABELS)


def test_booleans_are_features():
    assert build(floats(6) > 0.5, x_test=floats(6) > 0.5).train.inputs.dtype == torch.float32


@pytest.mark.parametrize("shape", [(24, 24, 3), (24, 20, 4), (24, 24, 1)])
def test_images_with_channels_last_are_refused(shape):
    for x in (floats(*shape), torch.rand(20, *shape), floats(*shape).astype(np.uint8)):
        with pytest.raises(DataError, match=r"look like images \[N, H, W, C\].*transpose\(0, 3,"):
            build(x)
    good = floats(*shape).transpose(0, 3, 1, 2)
    assert build(good).shape == (shape[2], *shape[:2])


@pytest.mark.parametrize("shape", [(3, 24, 3), (1, 8, 1), (4, 3, 3), (22, 250, 1), (64, 8, 8)])
def test_other_shapes_are_read_as_they_are(shape):
    assert build(floats(*shape)).shape == shape


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (floats(3), list("ab") * 10, "labels should be an array of numbers, got <U1.*class_names"),
        (floats(3), 1.0 * LABELS, r"labels should be integers, got torch\.float64.*astype"),
        (floats(3), LABELS + 10**12, r"the largest label is 1,000,000,000,\d+; .* from 0 to C - 1"),
        (floats(3), 2**63, "expected one label per input, got a single number"),
        (floats(3).astype(np.longdouble), LABELS, "inputs are float128, which PyTorch does not"),
        (floats(3), 1, "expected one label per input, got a single number"),
        (floats(3).astype(object), LABELS, "inputs should be an array of numbers, got object"),
        (np.ma.masked_less(floats(3), 0.5), LABELS, "inputs have masked values"),
        ([torch.rand(3, requires_grad=True)] * 20, LABELS, "inputs should be an array of numbers"),
    ],
)
def test_other_arrays_are_explained(x, y, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(x, y, floats(3), LABELS)


def test_test_inputs_in_the_training_data_are_counted():
    x, x_test = floats(4), floats(4)
    x_test[[3, 7]] = x[[0, 11]]
    with pytest.warns(LimbeckWarning, match="mine: 2 of 20 test inputs are also training inputs"):
        build(x, x_test=x_test, name="mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(x, x_test=floats(4))


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (LABELS + 1, None, "1 of 3 classes have no training sample: 0. Are the labels"),
        (LABELS, ["a", "b", "c"], "1 of 3 classes have no training sample: c."),
        (LABELS * 40, None, "39 of 41 classes have no training sample: 1; 2; .* and 29 more"),
    ],
)
def test_classes_without_training_samples_are_named(labels, names, message):
    with pytest.warns(LimbeckWarning, match=message) as caught:
        build(floats(4), labels, class_names=names)
    assert caught[0].filename == __file__
