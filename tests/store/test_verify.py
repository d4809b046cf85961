"""The comparison of stored answers with those that the teacher gives now."""

import dataclasses

import pytest
import torch
from support.store_cases import (
    CLASSES,
    SHARD,
    NextToken,
    answering,
    blocks,
    folder_of,
    image_pass,
    open_quietly,
    text_pass,
)

from limbeck._base.errors import TeacherError
from limbeck.store.codec import decode, encode
from limbeck.store.files import ANSWERS, StoreFolder
from limbeck.store.verify import deviations, draw_distance
from limbeck.teacher.signal import LiveTeacher

TOPK = {"kind": "topk", "k": 5}
SAMPLED = {"kind": "sampled", "k": 5}
ONE = {"kind": "sampled", "k": 1}


def test_misplaced_answers_in_a_sound_store_are_noticed(root):
    store = StoreFolder.open(folder_of(root))
    content = (store.path / ANSWERS).read_bytes()
    for shard in range(4):
        store.write(shard, content[: SHARD * CLASSES * 4])
    message = r"differ from the teacher's current ones.* differs by .*limbeck store clear"
    with pytest.raises(TeacherError, match=message):
        open_quietly(image_pass(), root)


def test_a_teacher_that_answers_at_random_is_refused(tmp_path):
    random = answering(image_pass(), lambda x: torch.randn(len(x), CLASSES))
    with pytest.raises(TeacherError, match=r"change from call to call: use store=off"):
        open_quietly(random, tmp_path)


@pytest.mark.parametrize("kind", [{"kind": "dense"}, TOPK, SAMPLED, ONE], ids=str)
@pytest.mark.parametrize("scale", [0.5, 3.0, 10.0])
def test_answers_of_another_teacher_are_noticed(tmp_path, kind, scale):
    """With checksums that fit."""
    right = text_pass(inputs=blocks(100), teacher=LiveTeacher(NextToken(scale=scale)))
    wrong = dataclasses.replace(right, teacher=LiveTeacher(NextToken(seed=1, scale=scale)))
    for teacher_pass in (right, wrong):
        open_quietly(teacher_pass, tmp_path, "float16", **kind)
    store = StoreFolder.open(folder_of(tmp_path, right, "float16", **kind))
    content = (folder_of(tmp_path, wrong, "float16", **kind) / ANSWERS).read_bytes()
    size = store.header.row_bytes
    for shard in range(store.header.shards):
        rows = store.header.rows_of(shard)
        store.write(shard, content[rows.start * size : rows.stop * size])
    message = r"differ from the teacher's current ones.*(differs by|other classes).*store=off"
    with pytest.raises(TeacherError, match=message):
        open_quietly(right, tmp_path, "float16", **kind)


@pytest.mark.parametrize("kind", [TOPK, SAMPLED, ONE], ids=str)
@pytest.mark.parametrize("scale", [0.01, 3.0, 30.0])
def test_a_slightly_different_computation_is_the_same_teacher(tmp_path, kind, scale):
    """As on another device; a sound store is not refused for it."""
    exact = text_pass(teacher=LiveTeacher(NextToken(scale=scale)))
    open_quietly(exact, tmp_path, "float16", **kind)

    def answer(x):
        logits = exact.teacher.answer(x)
        return logits + 1e-4 * logits.abs().max() * torch.randn_like(logits)

    for _ in range(10):
        open_quietly(answering(exact, answer), tmp_path, "float16", **kind)


def test_a_certain_class_that_became_less_probable_is_noticed():
    header = image_pass().header("float16", kind="sampled", k=2)
    header = dataclasses.replace(header, classes=4)
    logits = torch.tensor([[0.7, 0.1, 0.1, 0.1]]).log()
    later = torch.tensor([[0.3, 0.1, 0.1, 0.5]]).log()
    draws = [decode(encode(logits, header, torch.tensor([n])), header) for n in range(9)]
    stored = next(draw for draw in draws if draw.ids[0, 1] != 3)
    assert deviations(stored, logits, 1.0)[0].max() < 2e-3
    expected = pytest.approx([0.8473, 0.0], abs=1e-3)  # log 7/3
    assert deviations(stored, later, 1.0)[0].tolist()[0] == expected
    assert deviations(stored, logits + 9, 1.0)[1] == pytest.approx(2.3026, abs=1e-4)  # log 10


@pytest.mark.parametrize("classes", [20, 1000])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_the_distance_of_draws_grows_with_the_difference_of_logits(classes, scale):
    header = text_pass().header("float16", kind="sampled", k=5)
    header = dataclasses.replace(header, classes=classes)
    generator = torch.Generator().manual_seed(0)
    logits, noise = scale * torch.randn(2, 30, 8, classes, generator=generator)
    number = torch.arange(30)
    stored = decode(encode(logits, header, number).view(30, 8, -1), header)
    distances = []
    for share in (0, 1e-3, 0.03, 1):
        distances.append(draw_distance(stored, logits + share * noise, header, number))
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[1] < 1e-3 * scale
    assert distances[3] > 0.04 * scale


def test_one_improbable_draw_is_no_fault(tmp_path):
    """A store of one answer, which the comparison meets again and again."""
    logits = torch.tensor([8.3, *[0.0] * 999])
    improbable = 0
    for key in range(30):
        inputs = torch.full((1, 1), key, dtype=torch.int32)
        one = text_pass(inputs=inputs, positions=1, classes=1000)
        one = answering(one, lambda x: logits.expand(len(x), 1, -1))
        zero = torch.zeros(1, 1, dtype=torch.int64)
        stored = open_quietly(one, tmp_path, **ONE)(zero, zero, zero)
        improbable += int(stored.ids) > 0
    assert improbable > 0
