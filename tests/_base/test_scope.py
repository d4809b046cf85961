"""Tasks that are not served get one sentence, on the command line and in Python."""

import json

import pytest
import torch
from support.commands import call
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck._base.errors import ConfigError, DataError, TeacherError
from limbeck._base.scope import NOT_SERVED, refusal, refusal_of
from limbeck.cli.config.groups import GROUPS, choice_names
from limbeck.data import Dataset
from limbeck.losses.tasks import TASKS, check_task
from limbeck.teacher.files import load_other

DETECTION, SEGMENTATION = refusal("object detection"), refusal("segmentation")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("coco", DETECTION),
        ("object_detection", DETECTION),
        ("object-detection", DETECTION),
        ("semantic_segmentation", SEGMENTATION),
        ("DetrForObjectDetection", DETECTION),
        ("SegformerForSemanticSegmentation", SEGMENTATION),
        ("BertForSequenceClassification", ""),
        ("image_folder", ""),
    ],
)
def test_a_name_stands_for_a_task(name, sentence):
    assert refusal_of(name) == sentence


def test_nothing_that_is_served_is_refused():
    names = [*TASKS, *(name for group in GROUPS for name in choice_names(group))]
    assert [name for name in names if refusal_of(name)] == []
    assert all(refusal_of(word) for words in NOT_SERVED.values() for word in words.split())


@pytest.mark.parametrize("word", ["data=coco", "recipe=segmentation", "teacher=detr"])
def test_the_command_line_says_so(word, tmp_path):
    code, _, err = call("run", word, f"out={tmp_path / 'run'}")
    assert code == 2
    assert refusal_of(word.partition("=")[2]) in err
    assert err.count("\n") == 1


def test_a_task_of_data_says_so():
    with pytest.raises(ConfigError, match="does not serve segmentation"):
        check_task("segmentation")


def test_labels_of_pixels_are_refused():
    x, y = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.int64)
    with pytest.raises(DataError, match="does not serve segmentation"):
        Dataset.from_arrays(x, y, x, y)
    loader = DataLoader(TensorDataset(x, y), batch_size=2)
    with pytest.raises(DataError, match="does not serve segmentation"):
        limbeck.train(nn.Conv2d(3, 2, 1), loader, epochs=1)


def test_boxes_are_refused():
    boxes = [{"boxes": torch.zeros(1, 4), "labels": torch.ones(1)}] * 2
    with pytest.raises(DataError, match="does not serve object detection"):
        limbeck.train(nn.Conv2d(3, 2, 1), [(torch.rand(2, 3, 8, 8), boxes)], epochs=1)


def test_a_folder_of_a_detector_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["DetrForObjectDetection"]}))
    with pytest.raises(TeacherError, match="does not serve object detection"):
        load_other(tmp_path, classes=2)
