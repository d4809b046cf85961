"""Processes that train one student together, by several strategies, are stopped and resumed.

A script for torchrun: its arguments are a folder and actions such as ``train:images:fsdp``. The
first process saves the weights that each action ends with.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from limbeck import Objective, Optimizer
from limbeck.data import Shift, text_file
from limbeck.data.study_data import StudyData
from limbeck.models import GPT, MLP
from limbeck.training import chunked_steps
from limbeck.training.chunked_steps import MIN_CHUNKED_LOGITS
from limbeck.training.task import DistillationTask
from support import resumed
from support.resumed import SHAPE, Stopped

PATH = Path(__file__).parent.parent
"""Folder from which the script is imported."""
OPTIONS = {"gradient_clip_val": 0.05}
STOP = {"save": 8, "kill": 9}
"""Step after which a checkpoint is saved, and step after which the training ends."""


def images(folder):
    """A student without dropout, on a live teacher and shifted images."""

    def mlp(seed, hidden):
        torch.manual_seed(seed)
        return MLP(SHAPE, 3, hidden=hidden, dropout=0.0)

    task = DistillationTask(
        mlp(0, [7, 8]),
        mlp(9, [5, 5, 5]),
        Objective(temperature=2.0),
        optimizer=Optimizer(lr=0.01, schedule="one_cycle", averaging="ema", ema_decay=0.9),
        arm_names=["a"],
        seeds=[0],
    )
    return task, StudyData(resumed.images(), seeds=[0], batch_size=20, views=Shift(1))


def text(folder):
    """A language model on a live teacher, both of which compute logits in chunks."""
    data = text_file(folder / "text.txt", block=8, cache=folder / "cache")
    chunked_steps.MIN_CHUNKED_LOGITS = 1

    def gpt(seed):
        torch.manual_seed(seed)
        return GPT(data.shape, data.classes, width=8, layers=2, heads=1)

    task = DistillationTask(
        gpt(0),
        gpt(9),
        Objective(temperature=1.0),
        optimizer=Optimizer(name="adamw", lr=0.01),
        arm_names=["a"],
        seeds=[0],
    )
    return task, StudyData(data, seeds=[0], batch_size=16)


def write_text(folder):
    """Write the file that :func:`text` reads."""
    text = "".join("abcdef"[i * i % 7 % 6] for i in range(2000))
    (folder / "text.txt").write_text(text)


def train(maker, folder, *, checkpoints=None, logs=None, **options):
    """Train to the end; returns the weights of the student."""
    make = {"images": images, "text": text}[maker]
    epochs = 3 if maker == "images" else 1
    settings = {**OPTIONS, **options}
    try:
        task, _ = resumed.train(lambda: make(folder), checkpoints, logs, epochs=epochs, **settings)
    finally:
        chunked_steps.MIN_CHUNKED_LOGITS = MIN_CHUNKED_LOGITS
    return {name: value.clone() for name, value in task.cohort.student.state_dict().items()}


def main(folder, actions, nodes):
    world = int(os.environ["WORLD_SIZE"])
    for action in actions:
        verb, maker, strategy = action.split(":")
        options = {"devices": world // nodes, "num_nodes": nodes, "strategy": strategy}
        if verb != "train":
            options |= {"checkpoints": folder / "checkpoints", "logs": folder / f"logs{strategy}"}
        if verb == "stop":
            with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
                resumed.stop(patch, **STOP)
                train(maker, folder, **options)
            continue
        weights = train(maker, folder, **options)
        if torch.distributed.get_rank() == 0:
            torch.save(weights, folder / f"{action.replace(':', '-')}-{world}.pt")
        torch.distributed.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:], int(sys.argv[2]))
