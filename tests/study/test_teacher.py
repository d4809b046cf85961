"""Teachers of a study: a model, an ensemble, weights from a file, or none."""

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.image_studies import ARMS, own, same_students, scalars, study_of, teacher_model
from torch import nn

from limbeck import Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.models import MLP, ConvNet
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.teacher_files import load_teachers


def test_a_study_of_labels_alone_needs_no_teacher(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, {"hard": ARMS["hard"]}, teacher=None).run()
    assert summary.teacher is None
    assert summary.comparisons == ()
    assert summary.arms[0].mean.agreement is None
    assert not (out / "teacher").exists()
    assert "teacher" not in np.load(out / "predictions.npz").files
    with pytest.raises(
        TeacherError, match=r"arms\.soft learns from a teacher, but the study has none"
    ):
        study_of(data, tmp_path / "other", teacher=None)


def test_a_list_of_teachers_is_their_mean(data, tmp_path):
    out, teachers = tmp_path / "run", [teacher_model(1), teacher_model(2), teacher_model(3)]
    summary = study_of(data, out, teacher=teachers).run()
    with torch.no_grad():
        x = data.open_test().inputs.float() / 255
        expected = torch.stack([model(x).softmax(-1) for model in teachers]).mean(0)
    result = torch.from_numpy(np.load(out / "predictions.npz")["teacher"]).softmax(-1)
    torch.testing.assert_close(result, expected)
    assert sorted(p.name for p in (out / "teacher").iterdir()) == ["member0", "member1", "member2"]
    assert summary.teacher.params == 3 * sum(p.numel() for p in teachers[0].parameters())
    again = study_of(data, tmp_path / "again", teacher=Teacher(model=own(12), source=[out])).run()
    assert again.teacher.test == summary.teacher.test


def test_a_teacher_is_loaded_from_weights_with_and_without_normalisation(data, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(teacher_model().state_dict(), file)
    direct = study_of(data, tmp_path / "a", epochs=1).run()
    loaded = study_of(
        data, tmp_path / "b", epochs=1, teacher=Teacher(model=own(12), source=[file])
    ).run()
    assert loaded.teacher.test == direct.teacher.test
    trained = study_of(
        data, tmp_path / "c", epochs=1, teacher=Teacher(model=own(12), epochs=2)
    ).run()
    again = Teacher(model=own(12), source=[tmp_path / "c" / "teacher" / "model.safetensors"])
    loaded = study_of(data, tmp_path / "d", epochs=1, teacher=again).run()
    assert loaded.teacher.test == trained.teacher.test
    with pytest.raises(TeacherError, match="does not fit the model"):
        study_of(data, tmp_path / "e", teacher=Teacher(model=own(13), source=[file])).run()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_teacher_may_have_another_precision_than_the_students(data, tmp_path, dtype):
    teacher = teacher_model().to(dtype)
    summary = study_of(data, tmp_path / "run", teacher=teacher, epochs=1).run()
    with torch.no_grad():
        expected = teacher((data.open_test().inputs.float() / 255).to(dtype)).float()
    result = np.load(tmp_path / "run" / "predictions.npz")["teacher"]
    torch.testing.assert_close(torch.from_numpy(result).float(), expected)
    assert summary.comparisons[0].verdict
    assert {weight.dtype for weight in teacher.parameters()} == {dtype}


def test_a_key_chooses_the_teacher_in_a_checkpoint(data, tmp_path):
    states = {"model": teacher_model(1).state_dict(), "ema": teacher_model(2).state_dict()}
    torch.save({"epoch": 3, **states}, tmp_path / "it.ckpt")
    for key, state in states.items():
        teacher = Teacher(model=own(12), source=[tmp_path / "it.ckpt"], key=key)
        (loaded,) = load_teachers(teacher, data)
        weights = loaded.model.state_dict().values()
        assert all(map(torch.equal, weights, state.values()))
    with pytest.raises(ConfigError, match=r"Set teacher\.from=FILE, too"):
        Teacher(model=own(12), key="ema")


@pytest.mark.parametrize(
    "model", [partial(MLP, hidden=[8]), partial(ConvNet, channels=[4], strides=[1])]
)
def test_an_ensemble_is_trained_and_used_again(data, tmp_path, model):
    plan = Teacher(model=model, members=3, epochs=2, seed=10, combine="logits")
    first = study_of(data, tmp_path / "a", teacher=plan).run()
    members = [
        load_file(tmp_path / "a" / "teacher" / f"member{i}" / "model.safetensors") for i in range(3)
    ]
    name = next(name for name in members[0] if name.endswith("weight"))
    assert not torch.equal(members[0][name], members[1][name])
    assert first.teacher.name.startswith("3 x ")
    again = study_of(
        data, tmp_path / "b", teacher=Teacher(source=[tmp_path / "a"], combine="logits")
    ).run()
    assert again.teacher.test == first.teacher.test
    assert same_students(tmp_path / "a", tmp_path / "b")
    one = study_of(
        data, tmp_path / "c", teacher=Teacher(source=[tmp_path / "a" / "teacher" / "member1"])
    ).run()
    assert one.teacher.params * 3 == first.teacher.params


def test_the_students_of_an_arm_teach_the_next_generation(data, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    study_of(data, first, seeds=3).run()
    students = first / "students" / "soft"
    summary = study_of(data, second, teacher=Teacher(source=[students])).run()
    predictions = np.load(first / "predictions.npz")
    logits = [torch.from_numpy(predictions[f"students/soft/seed{seed}"]) for seed in range(3)]
    expected = torch.stack(logits).softmax(-1).mean(0)
    result = torch.from_numpy(np.load(second / "predictions.npz")["teacher"]).softmax(-1)
    torch.testing.assert_close(result, expected)
    assert summary.comparisons[0].control == "hard"
    message = "has the students of 2 arms. Choose those of one arm"
    with pytest.raises(TeacherError, match=message):
        load_teachers(Teacher(source=[first / "students"]), data)
    # A single student of the arm.
    one = study_of(data, tmp_path / "one", teacher=Teacher(source=[students / "seed2"])).run()
    assert one.teacher.test.errors == int((logits[2].argmax(-1) != data.open_test().labels).sum())


def test_the_members_of_an_ensemble_equal_teachers_trained_alone(data, tmp_path):
    mlp = partial(MLP, hidden=[8])
    study_of(
        data, tmp_path / "three", teacher=Teacher(model=mlp, members=3, epochs=2, seed=4)
    ).run()
    study_of(data, tmp_path / "one", teacher=Teacher(model=mlp, epochs=2, seed=5)).run()
    member = load_file(tmp_path / "three" / "teacher" / "member1" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "one" / "teacher" / "model.safetensors").items():
        torch.testing.assert_close(member[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_warning_names_a_teacher_worse_than_the_control(data, tmp_path, real_report):
    bad = teacher_model()
    with torch.no_grad():
        bad.net[3].weight.zero_()
        bad.net[3].bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    summary = study_of(data, tmp_path / "run", teacher=bad, epochs=20).run()
    assert any("is no better than the control 'hard'" in w for w in summary.warnings)
    assert "no better than the control" in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )


def test_a_teacher_is_trained_without_students(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, teacher=Teacher(model=own(8), epochs=2)).fit_teacher()
    assert summary.arms == ()
    assert summary.teacher.name == "Own"
    assert (out / "teacher" / "model.safetensors").is_file()
    assert not (out / "students").exists()
    assert {row["stage"] for row in scalars(out)} == {"teacher"}
    assert np.load(out / "predictions.npz").files == ["labels", "teacher"]
    with pytest.raises(TeacherError, match="no teacher to train"):
        study_of(data, tmp_path / "other", {"hard": ARMS["hard"]}, teacher=None).fit_teacher()


class Spoilt(nn.Module):
    """A teacher whose logits are NaN for one image."""

    def __init__(self, image):
        super().__init__()
        self.net, self.image = teacher_model(), image.float() / 255

    def forward(self, x):
        is_spoilt = (x - self.image).flatten(1).abs().amax(1) < 1e-6
        return torch.where(is_spoilt[:, None], torch.nan, self.net(x))


@pytest.mark.parametrize("store", ["off", "auto"])
def test_nan_for_a_training_sample_is_blamed_on_the_teacher(data, tmp_path, store):
    study = study_of(
        data,
        tmp_path / "run",
        teacher=Spoilt(data.train.inputs[17]),
        store={"mode": store, "folder": tmp_path / "store"},
    )
    with pytest.raises(TeacherError, match=r"logits of training sample 17 are not"):
        study.run()


def test_nan_for_a_test_sample_leaves_a_result(data, tmp_path):
    out = tmp_path / "run"
    teacher = Spoilt(data.open_test().inputs[3])
    summary = study_of(data, out, teacher=teacher, seeds=1, epochs=1).run()
    expected = study_of(data, tmp_path / "whole", seeds=1, epochs=1).run()
    assert summary.teacher.test.nll is None
    assert 0 <= summary.teacher.test.errors - expected.teacher.test.errors <= 1
    assert summary.comparisons[0].delta_errors == expected.comparisons[0].delta_errors
    assert read_summary(RunFolder(out)).teacher == summary.teacher


def test_a_student_built_around_the_teacher_is_refused(data, tmp_path):
    teacher = teacher_model()
    head = nn.Linear(3, 3)
    with pytest.raises(ConfigError, match="returns the same module each time"):
        study_of(
            data, tmp_path / "run", teacher=teacher, student=lambda: nn.Sequential(teacher, head)
        ).run()


def test_a_teacher_that_cannot_be_trained_in_shares_is_refused_before_anything_is_written(
    data, tmp_path
):
    teacher = Teacher(model=partial(ConvNet, channels=[4], strides=[2]), epochs=1)
    study = study_of(data, tmp_path / "run", teacher=teacher, trainer={"strategy": "fsdp"})
    with pytest.raises(ConfigError, match="The teacher has BatchNorm2d, whose statistics"):
        study.check()
    assert not (tmp_path / "run").exists()
