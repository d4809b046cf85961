"""Stored answers to mixtures are answers to what the students see."""

import pytest
import torch
from support.store_cases import CLASSES, answers, images, opened

from limbeck.data import Flip, Mixup, Split, TransferSet
from limbeck.data.batches import TrainBatches
from limbeck.data.transfer_set import mixing_pool

SPLIT = Split(images(), torch.arange(40) % CLASSES)


@pytest.mark.parametrize(
    "transfer", [TransferSet(), TransferSet(25), TransferSet(25, 6)], ids=lambda t: t.name
)
def test_stored_answers_are_to_the_mixtures_that_students_see(transfer, tmp_path):
    index, labels = transfer.select(SPLIT)
    views = Mixup(1.0, Flip()).limited(6)
    made = answers(views=views, rows=index, pool=mixing_pool(index, labels))
    stored = opened(made, tmp_path)
    for batch in TrainBatches(
        SPLIT, index, labels, views=views, seeds=[1, 2], batch_size=8, epoch=lambda: 3
    ):
        torch.testing.assert_close(
            stored(batch.x, batch.sample, batch.view), made.teacher(batch.x, batch.sample)
        )


def test_another_pool_is_another_store():
    rows = torch.arange(20)
    keys = [
        answers(views=views, rows=rows, pool=pool).header("float32").key
        for views in (Mixup().limited(4), Flip())
        for pool in (None, rows, rows[::2])
    ]
    assert keys[0] == keys[1] != keys[2]
    assert len(set(keys[3:])) == 1, "views that mix nothing have no pool"
