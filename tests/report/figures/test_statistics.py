import numpy as np
import pytest
from sklearn.metrics import recall_score

from limbeck._base.errors import UntrustedFileError
from limbeck.report.figures.statistics import (
    mean_recall,
    pooled_bins,
    read_predictions,
    recall,
    reliability_bins,
    t_interval,
)


def test_recall_equals_sklearn(full_run):
    predictions = read_predictions(full_run / "predictions.npz")
    arrays = np.load(full_run / "predictions.npz")
    tops = [arrays[f"students/soft/seed{seed}"].argmax(1) for seed in range(3)]
    expected = np.mean([recall_score(arrays["labels"], top, average=None) for top in tops], axis=0)
    found = mean_recall(predictions, list(predictions.arms["soft"].values()))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0 < found.min() < found.max()


def test_recall_of_a_class_without_samples_is_unknown():
    found = recall(np.array([0, 0, 2]), np.array([0, 1, 2]), 4)
    np.testing.assert_array_equal(found, [0.5, np.nan, 1.0, np.nan])


def test_bins_equal_a_direct_computation(full_run):
    arrays = np.load(full_run / "predictions.npz")
    confidence, right = [], []
    for seed in range(3):
        logits = arrays[f"students/hard/seed{seed}"].astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        confidence.append(p.max(1))
        right.append(logits.argmax(1) == arrays["labels"])
    confidence, right = np.concatenate(confidence), np.concatenate(right)
    predictions = read_predictions(full_run / "predictions.npz")
    bins = pooled_bins(predictions.labels, list(predictions.arms["hard"].values()))
    ece = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        assert bins.share[i] == pytest.approx(inside.mean())
        if inside.any():
            assert bins.confidence[i] == pytest.approx(confidence[inside].mean())
            assert bins.accuracy[i] == pytest.approx(right[inside].mean())
            ece += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        else:
            assert np.isnan(bins.accuracy[i])
    assert bins.ece == pytest.approx(ece)
    assert ece > 0.001


def test_bins_hold_their_upper_edge():
    bins = reliability_bins(
        np.array([0.0, 0.5, 0.51, 1.0]), np.array([False, True, False, True]), bins=2
    )
    np.testing.assert_allclose(bins.share, [0.5, 0.5])
    np.testing.assert_allclose(bins.accuracy, [0.5, 0.5])
    np.testing.assert_allclose(bins.confidence, [0.25, 0.755])


def test_t_interval_against_the_table():
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)
    assert t_interval([5.0]) is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"teacher": np.zeros((3, 2), np.float32)},
        {"labels": np.array([0, 1, 1]), "teacher": np.zeros((4, 2), np.float32)},
        {"labels": np.array([0, 1, 2]), "teacher": np.zeros((3, 2), np.float32)},
        {
            "labels": np.array([0, 1, 1]),
            "teacher": np.zeros((3, 2), np.float32),
            "students/a/seed0": np.zeros((3, 3)),
        },
        {"labels": np.array([0, 1, 1])},
        {"labels": np.array([0, None], dtype=object), "teacher": np.zeros((2, 2), np.float32)},
    ],
    ids=[
        "no labels",
        "rows differ",
        "label outside",
        "classes differ",
        "no predictions",
        "objects",
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays):
    file = tmp_path / "predictions.npz"
    np.savez(file, **arrays)
    with pytest.raises(UntrustedFileError, match=r"predictions\.npz is damaged"):
        read_predictions(file)


def test_an_arm_name_may_hold_a_slash(tmp_path):
    file = tmp_path / "predictions.npz"
    np.savez(
        file, labels=np.array([0, 1]), **{"students/a/seed1/seed4": np.eye(2, dtype=np.float32)}
    )
    assert list(read_predictions(file).arms) == ["a/seed1"]
    assert list(read_predictions(file).arms["a/seed1"]) == [4]
