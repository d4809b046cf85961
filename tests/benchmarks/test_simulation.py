"""The simulation of a cluster, against arithmetic."""

import math
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
HOUR = 3600.0


@pytest.fixture(scope="module")
def simulation():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import simulation

        yield simulation


@pytest.mark.parametrize("gpus", [1, 3, 8, 20])
@pytest.mark.parametrize("tasks", [1, 20, 33])
def test_equal_tasks_take_as_many_turns_as_needed(simulation, gpus, tasks):
    outcome = simulation.simulate([10.0] * tasks, simulation.Cluster(gpus, start=2.0))
    assert outcome.seconds == 2.0 + 10.0 * math.ceil(tasks / gpus)
    assert (outcome.rework, outcome.failures) == (0.0, 0)


def test_each_gpu_takes_the_next_task_when_it_is_free(simulation):
    outcome = simulation.simulate([9.0, 2.0, 2.0, 2.0, 2.0, 1.0], simulation.Cluster(2))
    assert outcome.seconds == 9.0


def test_tasks_without_a_failure_obey_the_bounds_of_list_scheduling(simulation):
    """Graham 1969: at most (2 - 1/m) times the optimum, which is at least both bounds."""
    rng = np.random.default_rng(0)
    for gpus in (1, 2, 5, 16):
        tasks = rng.exponential(10.0, 50).tolist()
        seconds = simulation.simulate(tasks, simulation.Cluster(gpus)).seconds
        bound = max(sum(tasks) / gpus, max(tasks))
        assert bound <= seconds + 1e-9
        assert seconds <= (2 - 1 / gpus) * bound + 1e-9


def failing(simulation, gpus=16, per_machine=4):
    return simulation.Cluster(gpus, per_machine, hours_between_failures=40.0, start=30.0, repair=60)


def test_all_work_is_done_in_spite_of_failures(simulation):
    tasks = [HOUR] * 400
    cluster = failing(simulation)
    outcome = simulation.simulate(tasks, cluster, checkpoint=60.0)
    plain = simulation.simulate(tasks, simulation.Cluster(16, 4, start=30.0))
    assert outcome.failures > 5
    assert outcome.seconds >= plain.seconds
    assert outcome.seconds <= plain.seconds + outcome.rework + 90.0 * outcome.failures + HOUR


def test_a_failure_costs_half_the_time_between_checkpoints_on_average(simulation):
    """Failures are uniform between checkpoints."""
    outcome = simulation.simulate([HOUR] * 20_000, failing(simulation), checkpoint=300.0)
    assert outcome.failures > 300
    deviation = 300.0 / math.sqrt(12 * outcome.failures)
    assert outcome.rework / outcome.failures == pytest.approx(150.0, abs=4 * deviation)


def test_the_number_of_failures_is_that_of_a_poisson_process(simulation):
    tasks = [HOUR] * 20_000
    outcome = simulation.simulate(tasks, failing(simulation), checkpoint=60.0)
    expected = sum(tasks) / HOUR / 40.0 * 4  # each failure ends the tasks of four GPUs
    assert outcome.failures == pytest.approx(expected, abs=4 * 4 * math.sqrt(expected / 4))


def test_without_checkpoints_a_task_starts_again(simulation):
    cluster = simulation.Cluster(1, 1, hours_between_failures=2.0)
    outcomes = [simulation.simulate([HOUR], cluster, seed=seed) for seed in range(40)]
    failed = [outcome for outcome in outcomes if outcome.failures]
    assert failed
    for outcome in outcomes:
        assert outcome.seconds == pytest.approx(HOUR + outcome.rework)


def test_equal_seeds_have_equal_outcomes(simulation):
    run = [simulation.simulate([HOUR] * 99, failing(simulation), seed=s).rework for s in (1, 1, 2)]
    assert run[0] == run[1] != run[2]
