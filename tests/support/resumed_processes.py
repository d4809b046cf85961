"""Two processes that train students, are stopped in the middle of an epoch, and resume.

A script: its argument is an empty folder, in which each process writes its result.
"""

import sys
import time
from pathlib import Path

import pytest
import torch

from limbeck.training.cohort import save_times
from limbeck.training.cohort.save_times import SaveTimes
from limbeck.training.loggers import gather_scalars
from support.resumed import Stopped, assert_same, cohort, train

OPTIONS = {"devices": 2, "strategy": "ddp"}


def main(folder):
    save_times.SAVE_SECONDS, save_times.MAX_SHARE = 0.0, 1e9  # a checkpoint at each decision
    save_times.DECISION_SECONDS = 0.0
    whole, _ = train(cohort, logs=folder / "whole", **OPTIONS)
    rank = torch.distributed.get_rank()
    time.sleep(rank)  # the clocks of the processes differ
    is_due = SaveTimes.is_due

    def stop(self, now, step):
        if step == 11:
            raise Stopped
        return is_due(self, now + 1000 * rank, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SaveTimes, "is_due", stop)
        with pytest.raises(Stopped):
            train(cohort, folder, folder / "logs", **OPTIONS)
    saved = sorted(file.name for file in folder.glob("*.ckpt"))
    assert saved == ["step10.ckpt", "step9.ckpt"], saved
    task, _ = train(cohort, folder, folder / "logs", **OPTIONS)
    assert_same(task, whole)
    assert gather_scalars(folder / "logs") == gather_scalars(folder / "whole")
    (folder / f"result{rank}").write_text(f"rank {rank}: same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
