"""What the coordinator writes into the run folder, and what it tells the study."""

import errno
import subprocess
import sys

import pytest

from limbeck.study.cluster import coordinator as module
from limbeck.study.cluster.coordinator import Coordinator, Report


@pytest.fixture
def coordinator(tmp_path):
    return Coordinator(str(tmp_path / "run"))


def test_a_training_that_starts_again_gets_its_checkpoints_and_another_log(coordinator):
    first = coordinator.start("cohort0")
    assert (first.checkpoints, first.version) == ({}, 0)
    for step in (5, 10, 15):
        checkpoint = (f"step{step}.ckpt", b"%d" % step)
        coordinator.report(Report("cohort0", checkpoint=checkpoint, log=b"a\n"))
    again = coordinator.start("cohort0")
    assert again.checkpoints == {"step15.ckpt": b"15", "step10.ckpt": b"10"}
    assert again.version == 1
    log = coordinator.run.logs / "cohort0" / "version_0" / "metrics.csv"
    assert log.read_bytes() == b"a\n"
    assert coordinator.start("cohort1").checkpoints == {}


def test_news_are_told_once(coordinator):
    coordinator.start("cohort0")
    coordinator.report(Report("cohort0", done=1.5, note="n", metrics=[({"loss": 1.0}, 3)]))
    coordinator.report(Report("cohort1", done=1.0))
    news = coordinator.news()
    assert news.progress == {"cohort0": (1.5, "n"), "cohort1": (1.0, "")}
    assert news.metrics == [({"loss": 1.0}, 3)]
    assert coordinator.news().progress == {}


def test_a_full_disk_is_a_warning_once_and_the_training_goes_on(coordinator, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_bytes", full)
        for step in (1, 2):
            coordinator.report(Report("cohort0", checkpoint=(f"step{step}.ckpt", b"")))
    (warning,) = coordinator.news().warnings
    assert "step1.ckpt cannot be written (No space left on device)" in warning
    coordinator.report(Report("cohort0", checkpoint=("step3.ckpt", b"3")))
    assert coordinator.start("cohort0").checkpoints == {"step3.ckpt": b"3"}


def test_the_process_of_the_coordinator_starts_fast():
    script = (
        "import sys, limbeck.study.cluster.coordinator\n"
        "print([name for name in ('torch', 'lightning_fabric', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
