"""Steps on text do not depend on how batches, cohorts and vocabularies are split."""

import copy

import pytest
import torch
from support.text_studies import BLOCK, HARD, SOFT, gpt, study_of, weights

from limbeck import Arm, Objective
from limbeck.data import TransferSet


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_whole_batches(text_teacher, text_data, tmp_path):
    trained = {}
    for size, parts in ((32, 1), (8, 4)):
        study_of(
            text_data,
            tmp_path / f"{size}",
            teacher=text_teacher,
            batch_size=size,
            epochs=2,
            transfer=TransferSet(samples=128),
            trainer={"precision": "64-true", "accumulate_grad_batches": parts},
        ).run()
        trained[size] = weights(tmp_path / f"{size}")
    assert len(trained[32]) == 4
    for name, tensors in trained[32].items():
        torch.testing.assert_close(trained[8][name], tensors, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_a_student_alone_learns_what_it_learns_in_its_cohort(text_teacher, text_data, tmp_path):
    options = {
        "teacher": text_teacher,
        "epochs": 1,
        "trainer": {"precision": "64-true"},
        "transfer": TransferSet(samples=160),
    }
    study_of(text_data, tmp_path / "both", seeds=[0, 4], **options).run()
    study_of(
        text_data, tmp_path / "alone", seeds=[4], arms={"soft": Arm(objective=SOFT)}, **options
    ).run()
    together, alone = weights(tmp_path / "both"), weights(tmp_path / "alone")
    assert list(alone) == ["students/soft/seed4/model.safetensors"]
    for name, tensors in alone.items():
        torch.testing.assert_close(
            together[name], {n: t.float() for n, t in tensors.items()}, rtol=1e-5, atol=1e-7
        )


def test_students_with_large_logits_are_trained_one_by_one(text_data, tmp_path, monkeypatch):
    study = study_of(text_data, tmp_path / "run")
    assert len(study.cohorts()) == 1
    logits = 32 * BLOCK * 256  # of one student for a batch
    monkeypatch.setattr("limbeck.study.cohorts.MAX_LOGITS", 2 * logits)
    assert [len(list(cohort.students())) for cohort in study.cohorts()] == [2, 2]
    monkeypatch.setattr("limbeck.study.cohorts.MAX_LOGITS", logits)
    assert len(study.cohorts()) == 4


@pytest.mark.slow
def test_chunked_steps_equal_whole_steps(text_data, text_teacher, tmp_path, monkeypatch):
    options = {
        "teacher": text_teacher,
        "epochs": 1,
        "seeds": 1,
        "trainer": {"precision": "64-true"},
        "transfer": TransferSet(samples=64),
    }
    arms = {
        "soft": Arm(objective=Objective(temperature=2.0)),
        "hard": Arm(objective=HARD, control=[]),
    }
    for name, store in (
        ("live", "off"),
        ("topk", {"kind": "topk", "k": 4, "folder": tmp_path / "store"}),
    ):
        students = {}
        for limit in (1 << 60, 1):
            monkeypatch.setattr("limbeck.training.chunked_steps.MIN_CHUNKED_LOGITS", limit)
            # Each student trains alone.
            monkeypatch.setattr("limbeck.training.cohort.stack.MAX_STACKED", 1)
            out = tmp_path / f"{name}{limit}"
            study_of(text_data, out, store=store, arms=arms, **options).run()
            students[limit] = weights(out)
        for file, tensors in students[1].items():
            torch.testing.assert_close(students[1 << 60][file], tensors, rtol=1e-6, atol=1e-9)


def test_padding_changes_nothing(text_teacher):
    """Positions whose label is -100 count nowhere, as if the block were shorter."""
    from limbeck.training.module import DistillationModule

    student = gpt((BLOCK,), 256).double()
    x = torch.randint(97, 103, (4, BLOCK))
    y = torch.randint(97, 103, (4, BLOCK))

    def gradient(x, y):
        module = DistillationModule(
            student, copy.deepcopy(text_teacher).double(), Objective(temperature=2.0)
        )
        return torch.autograd.grad(
            module.training_step((x, y), 0), list(student.parameters()), allow_unused=True
        )

    short = gradient(x[:, :20], y[:, :20])
    padded = y.clone()
    padded[:, 20:] = -100
    for one, other in zip(short, gradient(x, padded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
