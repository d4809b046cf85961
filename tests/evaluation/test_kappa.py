import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from limbeck.evaluation.kappa import fit_offsets
from limbeck.evaluation.metrics import classification_metrics, quadratic_kappa
from limbeck.run.metrics import Metrics


def graded(seed, n, classes, noise=1.0):
    """Grades, and logits that follow them more or less."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    near = -(labels[:, None] - torch.arange(classes)).abs().double()
    return near + noise * torch.randn(n, classes, generator=generator, dtype=torch.float64), labels


def kappa(logits, labels):
    return float(quadratic_kappa(logits, labels))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    n=st.integers(2, 60),
    classes=st.integers(2, 6),
    noise=st.floats(0, 5),
)
def test_kappa_is_that_of_scikit_learn(seed, n, classes, noise):
    logits, labels = graded(seed, n, classes, noise)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # it is not always defined
        theirs = cohen_kappa_score(
            labels, logits.argmax(1), labels=range(classes), weights="quadratic"
        )
    assert kappa(logits, labels) == pytest.approx(theirs, nan_ok=True, abs=1e-12)


def test_kappa_of_many_models_at_once():
    (first, labels), (second, _) = graded(0, 50, 5), graded(1, 50, 5)
    both = quadratic_kappa(torch.stack((first, second)), labels)
    assert both.tolist() == [kappa(first, labels), kappa(second, labels)]


def test_kappa_knows_chance_and_certainty():
    labels = torch.arange(5).repeat(200)
    assert kappa(torch.eye(5)[labels], labels) == 1
    guesses = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(0))
    assert abs(kappa(torch.eye(5)[guesses], labels)) < 0.1
    assert kappa(torch.eye(5)[4 - labels], labels) == -1


def test_only_graded_data_has_kappa():
    logits, labels = graded(0, 30, 5)
    assert type(classification_metrics(logits, labels)) is Metrics
    assert classification_metrics(logits, labels, ordinal=True).kappa == kappa(logits, labels)
    same = torch.zeros(4, dtype=torch.int64)
    assert classification_metrics(torch.eye(3)[same], same, ordinal=True).kappa is None


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    n=st.integers(1, 60),
    classes=st.integers(2, 6),
    noise=st.floats(0, 5),
)
def test_offsets_never_do_harm(seed, n, classes, noise):
    logits, labels = graded(seed, n, classes, noise)
    before, offsets = kappa(logits, labels), fit_offsets(logits, labels)
    assert offsets.shape == (classes,)
    assert torch.equal(offsets, fit_offsets(logits, labels))
    after = kappa(logits + offsets, labels)
    assert after >= before or before != before


@pytest.mark.parametrize("shift", [-1.5, -0.7, 0.6, 2.2])
def test_offsets_undo_a_shifted_score(shift):
    """Grades are the rounded score plus a shift: thresholds moved by it give every grade."""
    score = torch.linspace(-0.49, 4.49, 200, dtype=torch.float64)
    labels = score.round().long()
    grades = torch.arange(5)
    logits = (score + shift)[:, None] * grades - grades.double().square() / 2
    assert kappa(logits, labels) < 0.99
    assert kappa(logits + fit_offsets(logits, labels), labels) == 1


@pytest.mark.parametrize("seed", range(4))
def test_two_grades_reach_the_best_threshold(seed):
    logits, labels = graded(seed, 40, 2, noise=2.0)
    margins = (logits[:, 0] - logits[:, 1]).sort().values
    places = [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]
    best = max(kappa(logits + torch.tensor([0.0, float(place)]), labels) for place in places)
    assert kappa(logits + fit_offsets(logits, labels), labels) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_three_grades_come_near_the_best_of_a_grid(seed):
    logits, labels = graded(seed, 40, 3, noise=1.5)
    grid = torch.linspace(-4, 4, 41, dtype=torch.float64)
    tried = (
        logits + torch.tensor([0.0, a, b]) for a, b in itertools.product(grid.tolist(), repeat=2)
    )
    best = max(kappa(t, labels) for t in tried)
    assert kappa(logits + fit_offsets(logits, labels), labels) >= best - 0.03


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
        (torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2, 0])),
        (torch.eye(3)[[0, 0]], torch.tensor([0, 0])),
    ],
)
def test_nothing_to_fit(logits, labels):
    offsets = fit_offsets(logits, labels)
    assert offsets.isfinite().all()
    assert offsets.shape == (3,)


def test_shapes_are_checked():
    with pytest.raises(
        ValueError, match=r"Expected logits \[N, C\] and labels \[N\], got \[3\] and \[4\]"
    ):
        fit_offsets(torch.zeros(3), torch.zeros(4))
