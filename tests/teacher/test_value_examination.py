"""Findings about a teacher of values, from few and from many validation samples."""

import numpy as np
import pytest
from support.regressions import dataset

from limbeck.teacher.value_examination import judge_values


@pytest.mark.parametrize(
    ("samples", "scale", "level", "words"),
    [
        (40, 1.0, "ok", "The teacher has R²"),
        (40, 100.0, "stop", "in another unit than the labels"),
        (29, 100.0, "warning", "Fewer than 30 samples do not show if its unit is another one"),
        (29, 1.0, "ok", "The teacher has R²"),
    ],
)
def test_the_unit_is_examined_with_enough_samples(samples, scale, level, words):
    data = dataset()
    labels = data.val.labels[:samples].numpy()
    noise = np.random.default_rng(0).normal(size=labels.shape)
    values = scale * (labels + noise * labels.std() / 10)
    finding = judge_values(values.astype("float32"), labels, data, "the teacher")
    assert finding.level == level
    assert words in f"{finding.text} {finding.evidence}"
