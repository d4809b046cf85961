"""Settings of a study and of its arms, and those that it refuses."""

import numpy as np
import pytest
import torch
from support.image_studies import (
    ARMS,
    HARD,
    Own,
    WithBatchNorm,
    own,
    same_students,
    small,
    study_of,
    teacher_model,
    weights,
)
from torch import nn

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset, Shift, TransferSet

SHARED = Own()


def test_a_student_that_is_built_in_eval_mode_is_trained_in_train_mode(data, tmp_path):
    study_of(data, tmp_path / "a").run()
    study_of(
        data,
        tmp_path / "b",
        student=lambda shape, classes: small(shape=shape, classes=classes).eval(),
    ).run()
    assert same_students(tmp_path / "a", tmp_path / "b")


class InPlace(Own):
    """A model that changes its inputs, as one that normalises them in place does."""

    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(2))


def test_a_model_that_changes_its_inputs_leaves_the_dataset_alone(data, tmp_path):
    splits = [data.train, data.val, data.open_test()]
    before = [split.inputs.clone() for split in splits]
    study_of(data, tmp_path / "run", student=lambda: InPlace(), teacher=InPlace()).run()
    for split, inputs in zip(splits, before, strict=True):
        assert torch.equal(split.inputs, inputs)


def test_students_with_batchnorm_train_one_by_one(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, student=WithBatchNorm).run()
    assert len(list(out.glob("students/*/*/model.json"))) == 4
    assert summary.arms[0].student == "WithBatchNorm"
    tensors = weights(out)
    assert tensors["students/soft/seed1/net.net.2.num_batches_tracked"] == 9
    assert not torch.equal(
        tensors["students/soft/seed0/net.net.2.running_mean"],
        tensors["students/soft/seed1/net.net.2.running_mean"],
    )


def test_arms_have_students_views_and_transfer_sets_of_their_own(data, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=Objective()),
        "wide": Arm(objective=Objective(), student=own(9), control="hard"),
        "shifted": Arm(objective=Objective(), views=Shift(1)),
        "unlabelled": Arm(objective=Objective(), transfer=TransferSet(labelled=9)),
        "few": Arm(objective=HARD, transfer=TransferSet(samples=0.5)),
    }
    out = tmp_path / "run"
    summary = study_of(data, out, arms).run()
    arms_by_name = {arm.name: arm for arm in summary.arms}
    assert arms_by_name["wide"].student == "Own"
    assert arms_by_name["wide"].params == 17 * 9 + 10 * 3
    assert arms_by_name["shifted"].views == "shifts of 1"
    assert arms_by_name["unlabelled"].transfer == "all, 9 labelled"
    assert arms_by_name["few"].transfer == "0.5"
    controls = {c.arm: c.control for c in summary.comparisons}
    assert controls == {"soft": "hard", "wide": "hard", "shifted": "hard", "unlabelled": "hard"}
    assert sum(c.main for c in summary.comparisons) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"arms": {}}, ConfigError, "arms is empty"),
        ({"arms": {"a/b": ARMS["hard"]}}, ConfigError, r"arms\.a/b: expected a name of .*letters"),
        ({"arms": {"..": ARMS["hard"]}}, ConfigError, "a name of .*letters"),
        ({"arms": {"teacher": ARMS["hard"]}}, ConfigError, "not 'teacher'"),
        (
            {"arms": {"a": Arm(objective=HARD, control="b")}},
            ConfigError,
            r"arms\.a\.control='b' is not another arm",
        ),
        ({"student": None}, ConfigError, r"arms\.hard has no student"),
        ({"seeds": 0}, ConfigError, "seeds=0"),
        ({"seeds": []}, ConfigError, "empty"),
        ({"seeds": [1, 1]}, ConfigError, "contains a seed twice"),
        ({"seeds": "3"}, ConfigError, "number of seeds"),
        ({"epochs": 0}, ConfigError, "epochs=0"),
        ({"batch_size": 0}, ConfigError, "batch_size=0"),
        ({"store": "on"}, ConfigError, "store='on' is unknown"),
        ({"trainer": {"max_epoch": 1}}, ConfigError, "Did you mean `trainer.max_epochs`"),
        ({"trainer": {"precision": "17"}}, ConfigError, "refuses these options"),
        ({"trainer": {"accelerator": "abacus"}}, ConfigError, "refuses these options"),
        ({"trainer": {"max_epochs": 0}}, ConfigError, "epochs=0"),
        ({"transfer": TransferSet(samples=91)}, ConfigError, "transfer.samples=91"),
        (
            {"transfer": TransferSet(labelled=0)},
            ConfigError,
            r"its transfer set has no labels \(all, unlabelled\)",
        ),
        ({"student": lambda: 3}, ConfigError, "should be a torch.nn.Module"),
        ({"student": lambda depth: Own()}, ConfigError, "could not be built.*depth"),
        (
            {"student": lambda: Own(classes=4)},
            ConfigError,
            "the student outputs 4 classes but the dataset has 3",
        ),
        ({"student": lambda: nn.Linear(5, 3)}, ConfigError, "cannot read inputs of shape"),
        ({"student": lambda: SHARED}, ConfigError, "the same module each time"),
        (
            {"teacher": teacher_model(classes=4)},
            TeacherError,
            "the teacher outputs 4 classes, but the dataset has 3",
        ),
        ({"teacher": nn.Linear(5, 3)}, TeacherError, "cannot read inputs of shape"),
        ({"teacher": Teacher(source=["nowhere"])}, TeacherError, "nowhere does not exist"),
        ({"teacher": []}, TeacherError, "no model"),
        ({"teacher": Teacher(model=lambda: 3)}, ConfigError, "should be a torch.nn.Module"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    data, tmp_path, options, error, message
):
    out = tmp_path / "run"
    with pytest.raises(error, match=message):
        study_of(data, out, **options).run()
    assert not out.exists()


def test_shifts_of_flat_inputs_are_refused(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32), np.arange(60) % 3
    flat = Dataset.from_arrays(x[:40], y[:40], x[40:], y[40:])
    with pytest.raises(ConfigError, match="shifts of 1 need images"):
        study_of(flat, tmp_path / "run", views=Shift(1)).run()
    assert not (tmp_path / "run").exists()
    study_of(flat, tmp_path / "run").run()
