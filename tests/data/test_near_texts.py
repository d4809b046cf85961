"""Near copies of texts are found, and other texts are not."""

import torch

from limbeck.data.near_texts import near_texts

PADDING, LENGTH = 500, 60


def random_texts(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(PADDING, (count, LENGTH), generator=draw)
    lengths = torch.randint(20, LENGTH + 1, (count, 1), generator=draw)
    ids[torch.arange(LENGTH) >= lengths] = PADDING
    return ids.int()


def test_changed_copies_are_found_and_other_texts_are_not():
    train, test = random_texts(300, 0), random_texts(100, 1)
    for row in range(0, 100, 10):
        ids = train[row + 7].clone()
        ids[5 + row // 10] = 3  # another token
        test[row] = ids
    test[55] = train[3].roll(1)  # a token more at the beginning
    test[55, 0] = 4
    test[54, :] = PADDING
    test[54, :2] = 1  # too short
    copies = near_texts(train, {"test": test}, PADDING)["test"]
    expected = [(row, row + 7) for row in range(0, 100, 10)]
    assert set(copies.rows) >= set(expected)
    assert set(copies.rows) <= {*expected, (55, 3)}
    assert (copies.queries, copies.images) == (99, 300)


def test_texts_that_share_half_of_their_tokens_are_no_copies():
    train = random_texts(50, 0)
    test = random_texts(50, 1)
    half = LENGTH // 4
    test[:, :half] = train[:, :half]
    assert near_texts(train, {"test": test}, PADDING)["test"].rows == []
