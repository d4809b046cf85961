"""Blocks of a deep network that a shallower one starts from."""

import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import OutputMap, TextEncoder
from limbeck.models.blocks import chosen_blocks

SIZES = {"vocabulary": 9, "padding": 8, "width": 8}


def encoder(layers, seed=0, **settings):
    torch.manual_seed(seed)
    return TextEncoder((6,), 3, layers=layers, **{**SIZES, **settings})


def test_blocks_are_those_of_distilbert():
    """Sanh et al. 2019; the published script takes these of the 12 layers of BERT."""
    assert chosen_blocks(6, 12) == [0, 2, 4, 7, 9, 11]
    assert chosen_blocks(1, 12) == [0]
    assert chosen_blocks(None, 3) == chosen_blocks(3, 3) == [0, 1, 2]
    assert chosen_blocks([1, 4], 6) == [1, 4]


def test_an_encoder_starts_from_blocks_of_its_teacher():
    teacher, ids = encoder(4), torch.arange(6)[None]
    copy = encoder(4, 1, init="teacher", teacher=teacher)
    torch.testing.assert_close(copy(ids), teacher(ids))
    half = encoder(2, 1, init="teacher", teacher=teacher)
    for own, other in ((0, 0), (1, 3)):
        torch.testing.assert_close(
            half.blocks[own].state_dict(), teacher.blocks[other].state_dict()
        )
    mapped = encoder(2, 1, init="teacher", teacher=OutputMap(teacher, [2, 1, 0]))
    assert torch.equal(mapped.tokens.weight, teacher.tokens.weight)
    assert torch.equal(mapped.head.weight, encoder(2, 1).head.weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": encoder(4, width=16)}, "tokens.weight has the shape .9, 16. in the teacher"),
        ({"teacher": encoder(1)}, "number from 1 to 1"),
        ({"teacher": nn.Linear(1, 1)}, "but the teacher is Linear"),
        ({}, "but the teacher is none"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        encoder(2, init="teacher", **settings)
