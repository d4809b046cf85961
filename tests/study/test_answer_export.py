"""A teacher's answers are written for all samples of a dataset."""

import numpy as np
import pytest
import torch
from support.image_studies import teacher_model
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.study.answer_export import write_answers
from limbeck.teacher.signal import LiveTeacher


def test_every_sample_has_its_own_answer(data, tmp_path):
    model = teacher_model()
    assert write_answers(LiveTeacher(model), data, tmp_path / "a.npz") == 150
    arrays = np.load(tmp_path / "a.npz")
    test = data.open_test()
    for part, split in (("train", data.train), ("val", data.val), ("test", test)):
        rows = arrays["splits"] == part
        assert arrays["ids"][rows].tolist() == split.sample_ids.tolist()
        with torch.no_grad():
            expected = model(split.inputs.float() / 255)
        torch.testing.assert_close(torch.from_numpy(arrays["logits"][rows]), expected)


class Broken(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 3), float("nan"))


def test_a_failure_leaves_no_file(data, text_data, tmp_path):
    with pytest.raises(TeacherError, match="not all finite"):
        write_answers(LiveTeacher(Broken()), data, tmp_path / "new" / "a.csv")
    with pytest.raises(ConfigError, match="is a text in blocks"):
        write_answers(LiveTeacher(Broken()), text_data, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
