import numpy as np
import pytest
import torch

from limbeck._base.errors import ConfigError
from limbeck.data import ImagesFrom
from limbeck.data.sources.base import as_pool


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((3, 2)), "returned ndarray"),
        (torch.zeros(3, 4), r"returned shape \[3, 4\] torch.float32; expected \[N, 2\] of floats"),
        (torch.zeros(0, 2), "returned shape"),
        (torch.zeros(3, 2, dtype=torch.uint8), "uint8"),
        (torch.full((3, 2), float("nan")), "infinite or not a number"),
    ],
)
def test_unsuitable_inputs_of_a_source_are_named(inputs, message):
    with pytest.raises(ConfigError, match=message):
        as_pool(ImagesFrom("x"), inputs, torch.zeros(5, 2))


def test_a_pool_is_unlabelled_and_of_a_dtype_for_students():
    pool = as_pool(
        ImagesFrom("x"), torch.ones(3, 2, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.uint8)
    )
    assert pool.inputs.dtype == torch.float32
    assert pool.labels.tolist() == [-100] * 3
