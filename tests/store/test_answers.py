"""One pass of a teacher over samples: batches, digests, and logits that do not fit."""

from contextlib import nullcontext

import pytest
import torch
from support.store_cases import (
    BLOCKS,
    POSITIONS,
    TOKENS,
    Scaled,
    answering,
    counting,
    image_pass,
    open_quietly,
    text_pass,
)

from limbeck._base.errors import TeacherError
from limbeck.data.split import PART_ROWS
from limbeck.models import ConvNet
from limbeck.models.batch_size import CONVOLUTION_BATCH, LINEAR_BATCH
from limbeck.store import answers
from limbeck.store.answers import digest_of
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.signal import LiveTeacher


def test_batches_fit_the_kind_of_teacher():
    assert image_pass().batch_size == LINEAR_BATCH
    convolution = ConvNet((1, 4, 4), 3, channels=[2], strides=[1])
    assert image_pass(teacher=LiveTeacher(convolution)).batch_size == CONVOLUTION_BATCH
    function = FunctionTeacher(lambda x: x.flatten(1)[:, :3])
    assert image_pass(teacher=LiveTeacher(function)).batch_size == CONVOLUTION_BATCH


def test_tokens_are_asked_a_few_logits_at_a_time(tmp_path, monkeypatch):
    log = []
    assert text_pass().batch_size == answers.TOKEN_BLOCKS_BATCH
    assert text_pass(classes=50_257, positions=1024).batch_size == 1
    monkeypatch.setattr(answers, "MAX_LOGITS", 5 * POSITIONS * TOKENS)
    open_quietly(counting(text_pass(), log), tmp_path, "float16", kind="topk", k=5)
    assert max(log) <= 5
    assert sum(log) == BLOCKS + 5


def test_answers_are_computed_in_the_precision_of_the_training():
    class Half:
        precision = "bf16-true"
        passes = 0

        def forward_context(self):
            self.passes += 1
            return nullcontext()

        def convert_input(self, data):
            return data.bfloat16()

    half, full = image_pass(precision=Half()), image_pass()
    number = torch.arange(5)
    rounded, exact = half.compute(number), full.compute(number)
    assert half.precision.passes == 1
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


def test_digests_are_of_the_values_however_they_lie():
    ids = torch.arange(4 * PART_ROWS + 9, dtype=torch.int32)
    overlapping = ids.unfold(0, 5, 2)
    assert len(overlapping) > PART_ROWS
    assert digest_of(overlapping) == digest_of(overlapping.contiguous())
    rows = torch.arange(3, len(overlapping) - 2)
    assert digest_of(overlapping, rows) == digest_of(overlapping[rows])
    assert digest_of(overlapping) != digest_of(overlapping + 1)
    assert digest_of(torch.tensor(1.0)) != digest_of(torch.tensor([1.0]))


def test_logits_that_are_no_numbers_are_refused():
    infinite = image_pass(teacher=LiveTeacher(Scaled(float("inf"))))
    with pytest.raises(TeacherError, match=r"logits of training sample 2 are not all finite"):
        infinite.compute(torch.tensor([18, 19]))


def test_a_token_whose_logits_are_no_numbers_is_named():
    def answer(x):
        logits = text_pass().teacher.answer(x)
        logits[1, 4, 2] = float("nan")
        return logits

    message = r"sample 1, token 4, are not all finite: 1 of 20 .*nan, .*, \.\.\.\)"
    with pytest.raises(TeacherError, match=message):
        answering(text_pass(), answer).compute(torch.arange(3))


def test_a_teacher_that_answers_once_a_block_is_refused():
    once = answering(text_pass(), lambda x: torch.zeros(len(x), TOKENS))
    with pytest.raises(TeacherError, match=r"of shape \[11, 20\] .* Expected \[11, 8, 20\]"):
        once.compute(torch.arange(11))
