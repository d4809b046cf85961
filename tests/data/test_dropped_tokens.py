"""Views of texts in which tokens are dropped."""

import torch
from support.text_models import LENGTH, PADDING, random_texts

from limbeck.data.dropped_tokens import drop_tokens

TEXTS = random_texts([LENGTH] * 2000)
NUMBERS = torch.arange(2000)


def test_half_of_the_tokens_become_padding_and_the_first_two_stay():
    view = drop_tokens(TEXTS, NUMBERS, PADDING)
    assert torch.equal(view[:, :2], TEXTS[:, :2])
    is_token = view[:, 2:] != PADDING
    assert 0.48 < float(is_token.float().mean()) < 0.52
    assert torch.equal(view[:, 2:][is_token], TEXTS[:, 2:][is_token])


def test_a_view_is_a_function_of_its_number_alone():
    view = drop_tokens(TEXTS, NUMBERS, PADDING)
    order = torch.randperm(2000, generator=torch.manual_seed(0))
    assert torch.equal(drop_tokens(TEXTS[order], NUMBERS[order], PADDING), view[order])
    assert torch.equal(drop_tokens(TEXTS[:, :7], NUMBERS, PADDING), view[:, :7])
    assert not torch.equal(drop_tokens(TEXTS, NUMBERS + 1, PADDING), view)
