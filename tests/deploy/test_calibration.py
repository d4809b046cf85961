"""Abstaining trades coverage for errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from limbeck.deploy.calibration import operating_points
from limbeck.evaluation.calibration import fit_temperature


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
