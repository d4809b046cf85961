"""A teacher's outputs are brought to the classes of the data."""

import warnings

import pytest
import torch
from support.examined import linear_teacher, prototypes

from limbeck._base.errors import ConfigError, LimbeckWarning, TeacherError
from limbeck.models import LoadedModel, OutputMap
from limbeck.teacher.outputs import TeacherOutputs

NAMES = ["cat", "dog", "fox"]


@pytest.fixture(scope="module")
def data():
    return prototypes(3, val=30, names=NAMES)


def apply(data, *, columns=None, outputs=None, own=None, **settings):
    model = linear_teacher(data, columns=columns, outputs=outputs)
    description = {} if own is None else {"class_names": own}
    loaded = TeacherOutputs(**settings).apply(LoadedModel(model, description), data, "runs/a")
    return model, loaded


def logits(model, data):
    return model(data.val.inputs.float() / 255)


def test_without_settings_the_teacher_is_the_same(data):
    model, loaded = apply(data, own=NAMES)
    assert loaded.model is model


def test_classes_are_brought_to_the_order_of_the_data(data, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("dog\nfox\ncat\n")
    for settings in ({"classes": ["dog", "fox", "cat"]}, {"map": str(file)}):
        model, loaded = apply(data, **settings)
        assert torch.equal(logits(loaded.model, data), logits(model, data)[:, [2, 0, 1]])
        assert loaded.description["class_names"] == NAMES


def test_other_outputs_are_left_out(data):
    model, loaded = apply(
        data, columns=[4, 1, 0], outputs=5, classes=["fox", "dog", None, "owl", "cat"]
    )
    assert torch.equal(logits(loaded.model, data), logits(model, data)[:, [4, 1, 0]])


def test_the_names_in_a_file_map_the_outputs(data):
    with pytest.warns(LimbeckWarning, match="cut to the 3 of the dataset, by their names"):
        _, loaded = apply(data, columns=[3, 1, 0], outputs=4, own=["fox", "dog", "owl", "cat"])
    assert loaded.model.columns.tolist() == [3, 1, 0]
    with pytest.warns(LimbeckWarning, match="brought to the order of the dataset's"):
        apply(data, own=["fox", "dog", "cat"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        model, loaded = apply(data, own=["fox", "dog", "owl"])
    assert loaded.model is model, "other classes are left to the check of the names"
    _, loaded = apply(data, own=["fox", "dog", "cat"], classes=NAMES)
    assert not isinstance(loaded.model, OutputMap), "the user's word counts more than the file's"


def test_probabilities_become_logits(data):
    _, loaded = apply(data, kind="probabilities")
    assert loaded.model.probabilities
    assert loaded.model.columns.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["cat", "dog"]}, "names 2 outputs, but the teacher has 3"),
        ({"classes": ["cat", "dog", "owl"]}, "no output for 1 of 3 classes of the dataset: fox"),
    ],
)
def test_names_that_do_not_fit(data, settings, message):
    with pytest.raises(TeacherError, match=message):
        apply(data, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": NAMES, "map": "a.txt"}, "Set one"),
        ({"map": 3}, "should be the path of a file"),
        ({"kind": "scores"}, "choose one of logits, probabilities"),
    ],
)
def test_settings_that_are_not_valid(settings, message):
    with pytest.raises(ConfigError, match=message):
        TeacherOutputs(**settings)
