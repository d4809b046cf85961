"""State of the processes of a training, also for another number of processes than before."""

from collections.abc import Sequence
from typing import Any

import torch

from limbeck.training.means import joined_means
from limbeck.training.task import DistillationTask


def redistribute(
    states: Sequence[dict[str, Any]], task: DistillationTask, epoch: int, rank: int
) -> dict[str, Any]:
    """Return the state of a process from those of another number of processes.

    The first process gets the means so far. The random numbers of dropout start anew.

    Args:
        states: State of each process before: ``epoch``, see
            :meth:`~limbeck.training.task.DistillationTask.epoch_state`, and ``random``.
        task: Students and their losses.
        epoch: Number of the epoch that goes on.
        rank: Number of this process.
    """
    task.begin_epoch(epoch, rank)
    epochs = [state["epoch"] for state in states]
    own = {
        **epochs[0],
        "means": joined_means([state["means"] for state in epochs], is_first=rank == 0),
        "answers": {**epochs[0]["answers"], "record": _record([s["answers"] for s in epochs])},
        "streams": task.cohort.streams_state(),
    }
    return {"epoch": own, "random": random_state()}


def _record(answers: Sequence[dict[str, Any]]) -> Any:
    """Return the record of an invalid answer of the teacher in any process."""
    records = [state["record"] for state in answers]
    invalid = [record for record in records if record is not None and int(record[0]) > 0]
    return invalid[0] if invalid else records[0]


def random_state() -> dict[str, Any]:
    """State of PyTorch's random number generators, of the CPU and of all GPUs."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "gpus": gpus}


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore the state of PyTorch's random number generators."""
    torch.set_rng_state(state["cpu"])
    if len(state["gpus"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["gpus"])
