"""A small simulation of a cluster: a scheduler, tasks with checkpoints, and machines that fail."""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

READY, FINISH, FAIL = range(3)


@dataclass(frozen=True)
class Cluster:
    """Machines with GPUs. Each GPU runs one task at a time.

    Attributes:
        gpus: Number of GPUs.
        per_machine: Number of GPUs of a machine; all of them are lost when it fails.
        hours_between_failures: Mean time of one GPU between failures in hours; infinite for none.
        start: Time in seconds until a worker is ready, at first and after a failure.
        repair: Time in seconds until a machine that failed is replaced.
    """

    gpus: int
    per_machine: int = 8
    hours_between_failures: float = math.inf
    start: float = 0.0
    repair: float = 0.0


@dataclass
class Outcome:
    """What a simulation measured.

    Attributes:
        seconds: Time until the last task ends.
        rework: Work in GPU seconds that was done again.
        failures: Number of failures of machines with a task.
    """

    seconds: float = 0.0
    rework: float = 0.0
    failures: int = 0


@dataclass
class _Gpu:
    """A GPU, with the work that is left of its task when it started; None without a task."""

    left: float | None = None
    since: float = 0.0
    events: int = 0  # of this GPU; older ones in the queue do not count


@dataclass
class _State:
    queue: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    order: itertools.count = field(default_factory=itertools.count)

    def add(self, time: float, kind: int, who: int, number: int = 0) -> None:
        heapq.heappush(self.queue, (time, next(self.order), kind, who, number))


def simulate(
    tasks: Sequence[float], cluster: Cluster, *, checkpoint: float = math.inf, seed: int = 0
) -> Outcome:
    """Run tasks on a cluster: each GPU that is free takes the next one.

    When a machine fails, its tasks go back to the head of the queue, and go on from their last
    checkpoint on the next GPU. Failures are a Poisson process.

    Args:
        tasks: Duration of each task in seconds.
        cluster: Cluster.
        checkpoint: Time between checkpoints of a task in seconds.
        seed: Seed of the failures.
    """
    rng = np.random.default_rng(seed)
    state, outcome, waiting = _State(), Outcome(), deque(tasks)
    gpus = [_Gpu() for _ in range(cluster.gpus)]
    machines = math.ceil(cluster.gpus / cluster.per_machine)
    idle: list[int] = []
    left = len(tasks)

    def members(machine: int) -> range:
        first = machine * cluster.per_machine
        return range(first, min(first + cluster.per_machine, cluster.gpus))

    def start_machine(machine: int, time: float) -> None:
        for number in members(machine):
            gpus[number].events += 1
            state.add(time + cluster.start, READY, number, gpus[number].events)
        if math.isfinite(cluster.hours_between_failures):
            mean = 3600 * cluster.hours_between_failures / len(members(machine))
            state.add(time + rng.exponential(mean), FAIL, machine)

    def start_task(number: int, time: float) -> None:
        gpu = gpus[number]
        gpu.left, gpu.since, gpu.events = waiting.popleft(), time, gpu.events + 1
        state.add(time + gpu.left, FINISH, number, gpu.events)

    def fail(machine: int, time: float) -> None:
        for number in members(machine):
            gpu = gpus[number]
            gpu.events += 1
            if gpu.left is not None:
                done = time - gpu.since
                saved = done // checkpoint * checkpoint if math.isfinite(checkpoint) else 0.0
                outcome.rework += done - saved
                outcome.failures += 1
                waiting.appendleft(gpu.left - saved)
                gpu.left = None
            elif number in idle:
                idle.remove(number)
        start_machine(machine, time + cluster.repair)

    for machine in range(machines):
        start_machine(machine, 0.0)
    while left:
        time, _, kind, who, number = heapq.heappop(state.queue)
        if kind == FAIL:
            fail(who, time)
        elif number == gpus[who].events:
            if kind == FINISH:
                left, gpus[who].left, outcome.seconds = left - 1, None, time
            idle.append(who)
        while waiting and idle:
            start_task(idle.pop(), time)
    return outcome
