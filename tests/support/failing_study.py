"""A small study whose process is killed at a file operation."""

import os
import signal

from limbeck import Teacher
from limbeck.models import MLP
from support.faults import Disk
from support.image_studies import study_of


def study(data, folder, **options):
    teacher = Teacher(model=lambda **shape: MLP(**shape, hidden=[4]), epochs=1, batch_size=32)
    store = {"folder": folder / "store"}
    return study_of(data, folder / "run", teacher=teacher, epochs=1, store=store, **options)


def run_in_failing_process(data, folder, fault, at):
    """Run a study in this process, which is killed at an operation."""
    with Disk(folder, fault=fault, at=at, kill=lambda: os.kill(os.getpid(), signal.SIGKILL)):
        study(data, folder).run()
