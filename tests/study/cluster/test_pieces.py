"""Pieces of a store, computed from the inputs of their rows alone."""

from dataclasses import replace

import pytest
import torch
from support.image_studies import dataset, teacher_model

from limbeck.data import Mixup, NoViews, Shift
from limbeck.store.answers import TeacherPass
from limbeck.store.shards import Piece, compute_piece
from limbeck.study.cluster.ray_engine import ShardWork
from limbeck.teacher.signal import LiveTeacher

PIECES = [Piece(0, 9, 4), Piece(9, 30, 4), Piece(100, 101, 4), Piece(161, 180, 4)]


@pytest.mark.parametrize("views", [NoViews(), Shift(1), Mixup(0.5).limited(5)])
@pytest.mark.parametrize("rows", ["all", "range", "some"])
def test_a_piece_needs_the_inputs_of_its_rows_alone(views, rows):
    inputs = dataset().train.inputs.repeat(3, 1, 1, 1)
    rows_of = {
        "all": torch.arange(len(inputs)),
        "range": torch.arange(40, 240),
        "some": torch.arange(0, len(inputs), 1)[torch.arange(len(inputs)) % 7 != 3],
    }
    whole_pass = TeacherPass(
        teacher=LiveTeacher(teacher_model()),
        inputs=inputs,
        rows=rows_of[rows],
        views=views,
        classes=3,
    ).on(torch.device("cpu"))
    header = whole_pass.header("float32")
    work = ShardWork(whole_pass, header, PIECES)
    for number, piece in enumerate(PIECES):
        part = work.part(number)
        if views.mixes:
            assert part.inputs is None
        else:
            assert len(work.computation.teacher_pass.inputs) == 0
            assert len(part.inputs) <= len(piece) // views.count + 2
        expected = compute_piece(whole_pass, header, piece)
        assert work.computation.compute(part) == expected


def test_the_views_of_a_part_are_those_of_the_whole():
    """A continuous family draws them from the row, which is not the position in the part."""

    class Noise(NoViews):
        count = 3

        def apply(self, inputs, view, sample):
            return inputs.float() / 255 + (sample * 10 + view).view(-1, 1, 1, 1)

    whole_pass = TeacherPass(
        teacher=LiveTeacher(teacher_model()),
        inputs=dataset().train.inputs,
        rows=torch.arange(5, 60),
        views=Noise(),
        classes=3,
    ).on(torch.device("cpu"))
    inputs, first = whole_pass.part(31, 50)
    numbers = torch.arange(31, 50)
    part = replace(whole_pass, inputs=inputs, first=first)
    assert len(inputs) == 7
    assert torch.equal(part.compute(numbers), whole_pass.compute(numbers))
