"""The fitted temperature calibrates, and abstaining trades coverage for errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from limbeck.deploy.calibration import fit_temperature, operating_points


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_scaled_logits_is_recovered(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    odds = np.exp(logits)
    cumulative = np.cumsum(odds / odds.sum(1, keepdims=True), 1)
    labels = (rng.random((20_000, 1)) > cumulative).sum(1).clip(max=3)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


@settings(max_examples=10, deadline=None)
@given(
    nps.arrays(np.float64, (20, 3), elements=st.floats(-50, 50)),
    st.lists(st.integers(0, 2), min_size=20, max_size=20),
)
def test_coverage_falls_with_the_threshold(logits, labels):
    labels = np.array(labels)
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature <= 20.0001
    points = operating_points(logits, labels, temperature)
    coverage = [point.coverage for point in points]
    assert coverage[0] == 1
    assert coverage == sorted(coverage, reverse=True)
    assert points[0].error_rate == pytest.approx((logits.argmax(1) != labels).mean())
