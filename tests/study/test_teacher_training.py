"""Training of a teacher: ensembles of unlike members."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from support.image_studies import own, same_students, study_of

from limbeck import Optimizer, Teacher
from limbeck._base.checks import MAX_SEEDS
from limbeck._base.errors import ConfigError
from limbeck.data import Shift
from limbeck.models import MLP, ConvNet
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary

NARROW = Teacher(model=partial(MLP, hidden=[8]), epochs=2)
WIDE = Teacher(
    model=partial(MLP, hidden=[12, 5]), epochs=3, members=2, views=Shift(1), batch_size=16
)
CONVNET = Teacher(
    model=partial(ConvNet, channels=[4], strides=[1]), epochs=1, optimizer=Optimizer(name="sgd")
)


def member_weights(out, name=""):
    return load_file(out / "teacher" / name / "model.safetensors")


def test_unlike_members_equal_teachers_trained_alone(data, tmp_path):
    plan = Teacher(members=[WIDE, NARROW, CONVNET], seed=4)
    out = tmp_path / "run"
    summary = study_of(data, out, teacher=plan, epochs=1).run()
    assert summary.teacher.name == "2 x 16-12-5-3 + 16-8-3 + convnet 4 (probabilities)"
    alone = [(WIDE, 4), (WIDE, 5), (NARROW, 6), (CONVNET, 7)]
    for number, (kind, seed) in enumerate(alone):
        folder = tmp_path / f"alone{number}"
        teacher = replace(kind, members=1, seed=seed)
        study_of(data, folder, teacher=teacher).fit_teacher()
        expected = member_weights(folder)
        for name, tensor in member_weights(out, f"member{number}").items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    # Two of one kind are trained together.
    assert len(list((out / "logs").glob("teacher*"))) == 3
    again = study_of(data, tmp_path / "again", teacher=Teacher(source=[out]), epochs=1).run()
    assert again.teacher.test == summary.teacher.test
    assert same_students(out, tmp_path / "again")


def test_unlike_members_of_a_resumed_run_are_loaded(data, tmp_path):
    plan = Teacher(members=[NARROW, Teacher(model=own(7), epochs=1)])
    first = study_of(data, tmp_path / "run", teacher=plan, epochs=1).run()
    (tmp_path / "run" / "summary.json").unlink()
    before = [member_weights(tmp_path / "run", f"member{i}") for i in (0, 1)]
    study_of(data, tmp_path / "run", teacher=plan, epochs=1, resume=True).run()
    assert read_summary(RunFolder(tmp_path / "run")).teacher.test == first.teacher.test
    for number, weights in enumerate(before):
        again = member_weights(tmp_path / "run", f"member{number}")
        assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_each_split_has_unlike_members_of_its_own(data, tmp_path):
    plan = Teacher(members=[NARROW, WIDE])
    study_of(data, tmp_path / "run", teacher=plan, epochs=1, splits=2).run()
    run = RunFolder(tmp_path / "run")
    first, second = (load_file(run.teacher_of(i) / "member0" / "model.safetensors") for i in (0, 1))
    assert first.keys() == second.keys()
    assert not any(torch.equal(first[name], second[name]) for name in first if "weight" in name)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "names no member"),
        ([partial(MLP, hidden=[8])], "should be a teacher to train"),
        ([Teacher(source=["a.pt"])], "should be a teacher to train"),
        ([Teacher(members=[NARROW])], "should be a teacher to train"),
        ([Teacher(model=own(7), seed=3)], "no seed of its own"),
        ("three", "teacher.members"),
        ([Teacher(model=own(7), members=MAX_SEEDS), NARROW], "more than a study can hold"),
    ],
)
def test_bad_members_are_one_message(members, message):
    with pytest.raises(ConfigError, match=message):
        Teacher(members=members)


def test_members_are_trained_and_not_loaded():
    with pytest.raises(ConfigError, match=r"List models from files in teacher\.from"):
        Teacher(source=["a.pt"], members=[NARROW])
