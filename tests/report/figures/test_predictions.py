import numpy as np
import pytest
from scipy.special import softmax
from support.summaries import make_arm, make_summary, make_sweep

from limbeck._base.errors import UntrustedFileError
from limbeck.report.arm_styles import COLOURS, TEACHER
from limbeck.report.figures.predictions import (
    Predictions,
    hidden_arms,
    models_of,
    predict,
    read_predictions,
)

LABELS = np.array([0, 1, 1])
TWO_CLASSES = np.zeros((3, 2), np.float32)


def test_the_confidence_is_the_softmax_of_the_top_class():
    logits = np.random.default_rng(2).normal(size=(20, 5)).astype(np.float32)
    predictions = predict(logits)
    np.testing.assert_array_equal(predictions.top, logits.argmax(1))
    expected = softmax(logits.astype(np.float64), axis=1).max(1)
    np.testing.assert_allclose(predictions.confidence, expected, rtol=1e-12)


def test_a_sample_without_a_prediction_is_wrong():
    predictions = predict(np.array([[np.nan, 0], [-np.inf, -np.inf], [-np.inf, 1]], np.float32))
    assert predictions.top.tolist() == [-1, -1, 1]
    assert predictions.confidence.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "arrays",
    [
        {"teacher": TWO_CLASSES},
        {"labels": LABELS, "teacher": np.zeros((4, 2), np.float32)},
        {"labels": np.array([0, 1, 2]), "teacher": TWO_CLASSES},
        {"labels": LABELS, "teacher": TWO_CLASSES, "students/a/seed0": np.zeros((3, 3))},
        {"labels": LABELS, "teacher": np.zeros((3, 2), int)},
        {"labels": LABELS, "teacher": np.float32(1)},
        {"labels": LABELS},
        {"labels": np.array([0, None, 1], dtype=object), "teacher": TWO_CLASSES},
    ],
    ids=["labels", "rows", "label outside", "classes", "integers", "scalar", "empty", "objects"],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, arrays):
    file = tmp_path / "predictions.npz"
    np.savez(file, **arrays)
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz is damaged"):
        read_predictions(file)


@pytest.mark.parametrize("damage", ["no archive", "empty", "truncated", "flipped"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    file = tmp_path / "predictions.npz"
    np.savez(file, labels=LABELS, teacher=np.ones((3, 50)))
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0xFF
    damaged = {
        "no archive": b"PK\x03\x04 not a zip",
        "empty": b"",
        "truncated": bytes(content[:middle]),
        "flipped": bytes(content),
    }
    file.write_bytes(damaged[damage])
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz is damaged"):
        read_predictions(file)


def test_an_arm_name_may_contain_a_slash(tmp_path):
    file = tmp_path / "predictions.npz"
    np.savez(file, labels=LABELS, **{"students/a/seed1/seed4": TWO_CLASSES})
    predictions = read_predictions(file)
    assert list(predictions.arms) == ["a/seed1"]
    assert list(predictions.arms["a/seed1"]) == [4]


def test_models_have_the_colours_of_their_arms():
    student = predict(TWO_CLASSES)
    arms = {"b": {0: student}, "gone": {0: student}}
    predictions = Predictions(LABELS, 2, teacher=student, arms=arms)
    models = models_of(make_summary([make_arm("a", [1]), make_arm("b", [1])]), predictions)
    assert [(model.name, model.colour) for model in models] == [
        ("teacher", TEACHER),
        ("b", COLOURS[1]),
    ]


def test_a_caption_counts_the_arms_that_are_drawn():
    assert hidden_arms(make_sweep()) == ""
    large = make_sweep(temperatures=range(1, 14))
    assert hidden_arms(large) == " Only the highlighted arms are drawn: 6 of 27."
