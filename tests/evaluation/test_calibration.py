"""The fitted temperature calibrates."""

import numpy as np
import pytest

from limbeck.evaluation.calibration import fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_scaled_logits_is_recovered(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    odds = np.exp(logits)
    cumulative = np.cumsum(odds / odds.sum(1, keepdims=True), 1)
    labels = (rng.random((20_000, 1)) > cumulative).sum(1).clip(max=3)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)
