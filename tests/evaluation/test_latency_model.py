"""Latency models: exact times are recovered, and their error is that of models left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.evaluation.latency_model import fit_latency

MACS = [1e3, 4e3, 1e4, 5e4, 9e4, 3e5, 1e6]
PARAMS = [9e2, 5e3, 2e3, 6e4, 1e4, 4e4, 9e4]

times = st.sampled_from([0.0, 1e-6, 3e-5, 0.002, 0.1])


def latencies(fixed, per_mac, per_parameter):
    return [
        fixed + per_mac * macs + per_parameter * params
        for macs, params in zip(MACS, PARAMS, strict=True)
    ]


@given(st.sampled_from([0.004, 0.1]), times, times)
def test_exact_times_are_recovered(fixed, per_mac, per_parameter):
    model = fit_latency(MACS, PARAMS, latencies(fixed, per_mac, per_parameter))
    assert model.predict(2e5, 3e4) == pytest.approx(fixed + 2e5 * per_mac + 3e4 * per_parameter)
    assert model.largest_error == pytest.approx(0, abs=1e-6)
    assert model.models == 7


def test_coefficients_are_those_of_a_grid_search():
    """An independent answer: no nearby non-negative coefficients have a lower loss."""
    random = np.random.default_rng(0)
    measured = np.array(latencies(0.004, 1e-6, 1e-6)) * random.uniform(0.8, 1.25, len(MACS))
    model = fit_latency(MACS, PARAMS, measured)

    def loss(fixed, per_mac, per_parameter):
        return np.sum((np.array(latencies(fixed, per_mac, per_parameter)) / measured - 1) ** 2)

    best = loss(model.fixed, model.per_mac, model.per_parameter)
    for step in (0.9, 0.99, 1.01, 1.1):
        assert loss(model.fixed * step, model.per_mac, model.per_parameter) >= best
        assert loss(model.fixed, model.per_mac * step, model.per_parameter) >= best
        assert loss(model.fixed, model.per_mac, model.per_parameter * step) >= best
    assert loss(model.fixed, model.per_mac, model.per_parameter + 1e-8) >= best


def test_the_error_is_that_of_models_left_out():
    factors = [1.1, 1, 0.9, 2, 1.2, 1, 0.8]
    measured = list(np.array(latencies(0.004, 1e-6, 1e-7)) * factors)
    model = fit_latency(MACS, PARAMS, measured)
    errors = []
    for number, latency in enumerate(measured):
        rest = [values[:number] + values[number + 1 :] for values in (MACS, PARAMS, measured)]
        predicted = fit_latency(*rest).predict(MACS[number], PARAMS[number])
        errors.append(abs(predicted - latency) / latency)
    assert model.error == pytest.approx(sorted(errors)[3])
    assert model.largest_error == pytest.approx(max(errors))


def test_times_in_another_unit_have_the_same_errors():
    measured = np.array(latencies(0.004, 1e-6, 1e-7)) * [1.1, 1, 0.9, 1, 1.2, 1, 1]
    one, thousand = (fit_latency(MACS, PARAMS, factor * measured) for factor in (1, 1000))
    assert thousand.predict(5e5, 5e4) == pytest.approx(1000 * one.predict(5e5, 5e4))
    assert thousand.error == pytest.approx(one.error)


def test_a_perfect_fit_leaves_a_margin_of_a_tenth():
    model = fit_latency(MACS, PARAMS, latencies(0.004, 1e-6, 0))
    limit = model.predict(5e5, 0)
    assert not model.exceeds(limit / 1.09, 5e5, 0)
    assert model.exceeds(limit / 1.11, 5e5, 0)


def test_a_model_exceeds_a_limit_only_beyond_the_largest_error():
    measured = np.array(latencies(0.004, 1e-6, 0)) * [1.1, 1, 0.9, 1, 1.2, 1, 1]
    model = fit_latency(MACS, PARAMS, measured)
    limit = model.predict(5e5, 0)
    assert not model.exceeds(limit, 5e5, 0)
    assert model.exceeds(limit / (1.01 + model.largest_error), 5e5, 0)


@pytest.mark.parametrize(
    ("macs", "params"),
    [
        ([1e3, 5e3, 2e4, 1e5, 3e5, 1e6], [100] * 6),
        ([1e3, 5e3, 2e4, 1e5, 3e5, 1e6], [1e4, 5e4, 2e5, 1e6, 3e6, 1e7]),
        ([0] * 6, [1e4, 5e4, 2e5, 1e6, 3e6, 1e7]),
        ([1e3] * 6, [100] * 6),
    ],
)
def test_models_that_share_their_size_are_fitted(macs, params):
    """Their matrices have dependent columns: SciPy 1.14's `nnls` fails on some of those."""
    measured = [0.004 + 1e-6 * mac + 1e-7 * count for mac, count in zip(macs, params, strict=True)]
    model = fit_latency(macs, params, measured)
    assert model.predict(macs[2], params[2]) == pytest.approx(measured[2])
    assert model.largest_error == pytest.approx(0, abs=1e-9)
    assert min(model.fixed, model.per_mac, model.per_parameter) >= 0


def test_five_measurements_are_too_few():
    assert fit_latency(MACS[:5], PARAMS[:5], latencies(1, 0, 0)[:5]) is None
