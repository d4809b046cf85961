"""A run with a teacher that does not fit is stopped before anything is trained or written."""

import warnings

import numpy as np
import pytest
import torch
from support.examined import levels, linear_teacher, prototypes
from support.image_studies import ARMS
from support.studies import make_study

from limbeck import Teacher, evaluate
from limbeck._base.errors import ConfigError, LimbeckWarning, TeacherError
from limbeck.models import MLP, save_model


@pytest.fixture(scope="module")
def data():
    return prototypes(11)


@pytest.fixture(scope="module")
def columns(data):
    """The order of folders sorted as text."""
    return [sorted(data.class_names).index(name) for name in data.class_names]


def small():
    return MLP((1, 8, 8), 11, hidden=[4])


def study(data, out, teacher, **options):
    defaults = {"student": small, "seeds": 1, "epochs": 1}
    return make_study(data, ARMS, out, teacher=teacher, **{**defaults, **options})


def linear(data, **settings):
    """A linear teacher of limbeck's own class, so that it can be loaded from its folder."""
    layer = linear_teacher(data, **settings)[1]
    model = MLP((1, 8, 8), settings.get("outputs") or data.classes, hidden=[])
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.load_state_dict(layer.state_dict())
    return model


def test_a_wrong_teacher_stops_the_run(data, columns, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        TeacherError, match=r"sorted as text.*OutputMap\(teacher, \[0, 1, 3"
    ) as stop:
        study(data, out, linear_teacher(data, columns=columns)).run()
    assert "RunOptions(check_teacher=False)" in str(stop.value)
    assert not out.exists()


def test_who_knows_better_goes_on(data, columns, tmp_path):
    summary = study(
        data, tmp_path / "run", linear_teacher(data, columns=columns), check_teacher=False
    ).run()
    assert summary.teacher.test.accuracy < 0.5


def saved(data, folder, **settings):
    save_model(linear(data, **settings), folder, class_names=data.class_names)
    (folder / "model.json").rename(folder / "other.json")  # weights without names
    return folder / "model.safetensors"


def from_file(file, outputs=11, **settings):
    def build():
        return MLP((1, 8, 8), outputs, hidden=[])

    return Teacher(model=build, source=[file], **settings)


def test_the_printed_setting_mends_a_teacher_from_files(data, columns, tmp_path):
    file = saved(data, tmp_path / "model", columns=columns)
    with pytest.raises(TeacherError, match=r"'teacher\.classes=\[0,1,10,2,3,4,5,6,7,8,9\]'"):
        study(data, tmp_path / "run", from_file(file)).run()
    mended = from_file(file, classes=[0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9])
    first = study(data, tmp_path / "run", mended).run()
    right = evaluate(linear_teacher(data), [(data.test_inputs / 255, data.open_test().labels)])
    assert first.teacher.test.errors == right["errors"]
    assert first.teacher.test.nll == pytest.approx(right["nll"], rel=1e-4)
    again = study(data, tmp_path / "again", Teacher(model=mended.model, source=[tmp_path / "run"]))
    again.check()
    assert levels(again.examine()) == ["ok"] * 3


def test_more_outputs_than_classes(data, tmp_path):
    columns = np.random.default_rng(0).permutation(13)[:11]
    file = saved(data, tmp_path / "model", columns=columns, outputs=13)
    with pytest.raises(TeacherError, match="outputs 13 classes, but the dataset has 11") as stop:
        study(data, tmp_path / "run", from_file(file, 13)).run()
    names = [None] * 13
    for name, column in zip(data.class_names, columns, strict=True):
        names[column] = name
    line = ",".join("null" if name is None else name for name in names)
    assert f"'teacher.classes=[{line}]'" in str(stop.value)
    study(data, tmp_path / "run", from_file(file, 13, classes=names)).check()


def test_more_outputs_that_fit_no_class(data, tmp_path):
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 13, hidden=[8])
    with pytest.raises(TeacherError, match="No 11 of the outputs fit the classes"):
        study(data, tmp_path / "run", model).check()


def test_a_normalisation_is_set(tmp_path):
    data = prototypes(4, noise=0.5)
    file = saved(data, tmp_path / "model", mean=0.449, std=0.226)

    def build():
        return MLP((1, 8, 8), 4, hidden=[])

    def small():
        return MLP((1, 8, 8), 4, hidden=[4])

    def plan(**settings):
        teacher = Teacher(model=build, source=[file], **settings)
        return study(data, tmp_path / "run", teacher, student=small)

    with pytest.raises(TeacherError, match=r"To mend it: teacher\.normalization=imagenet"):
        plan().check()
    plan(normalization="imagenet").check()


def test_settings_of_a_teacher_that_is_trained_are_refused():
    with pytest.raises(ConfigError, match=r"Set teacher\.from"):
        Teacher(model=small, classes=["a", "b"])
    with pytest.raises(ConfigError, match=r"teacher\.normalization='imgnet'"):
        Teacher(source=["a"], normalization="imgnet")


def test_an_untrained_teacher_is_a_warning(data, tmp_path):
    torch.manual_seed(0)
    model = linear_teacher(data)
    with torch.no_grad():
        model[1].weight.zero_()
    with pytest.warns(LimbeckWarning, match="no better than chance"):
        study(data, tmp_path / "run", model).check()


def test_a_teacher_of_the_run_is_not_examined(data, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr("limbeck.study.teacher.examine_models", refuse)
    study(data, tmp_path / "run", Teacher(model=small, epochs=1)).check()
    with pytest.raises(AssertionError):
        study(data, tmp_path / "run", linear_teacher(data)).check()


def test_a_resumed_run_is_not_examined_again(data, columns, tmp_path):
    teacher = linear_teacher(data, columns=columns)
    study(data, tmp_path / "run", teacher, check_teacher=False).run()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        study(data, tmp_path / "run", teacher, resume=True).check()


def test_a_study_is_examined_without_training(data, columns, tmp_path):
    out = tmp_path / "run"
    good = study(data, out, linear_teacher(data)).examine()
    assert [finding.subject for finding in good] == ["data", "teacher", "loss"]
    assert levels(good) == ["ok"] * 3
    bad = study(data, out, linear_teacher(data, columns=columns)).examine()
    assert levels(bad) == ["ok", "stop"]
    unfit = study(data, out, linear_teacher(data, outputs=12)).examine()
    assert levels(unfit) == ["ok", "stop"]
    trained = study(data, out, Teacher(model=small)).examine()
    assert "will be trained by the run" in trained[-1].text
    assert not out.exists()
