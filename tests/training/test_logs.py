"""Logs that were damaged or cut short, and loggers that do not close."""

import time

import pytest

from limbeck._base.errors import LimbeckWarning
from limbeck.training.loggers import close_loggers, gather_scalars, warn_of_missing_epochs


def write_log(logs, text, version=0, stage="cohort0"):
    file = logs / stage / f"version_{version}" / "metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


LOG = "epoch,soft/seed0/train_loss,step\n0,0.5,1\n1,0.25,2\n2,0.125,3\n"
EPOCHS = {("soft", 0): 3}


@pytest.mark.parametrize("cut", [LOG[:-2], LOG[:-8], LOG[:40], ""])
def test_a_log_that_was_cut_short_is_reported(tmp_path, cut):
    write_log(tmp_path, LOG)
    rows = gather_scalars(tmp_path)
    assert [(row["epoch"], row["value"]) for row in rows] == [(0, 0.5), (1, 0.25), (2, 0.125)]
    warn_of_missing_epochs(rows, EPOCHS, tmp_path)
    (tmp_path / "cohort0" / "version_0" / "metrics.csv").write_text(cut)
    rows = gather_scalars(tmp_path)
    if len(rows) == 3:
        return  # only the number of a step is shorter
    with pytest.warns(LimbeckWarning, match=rf"lacks epochs of soft/seed0 \({3 - len(rows)} of 3"):
        warn_of_missing_epochs(rows, EPOCHS, tmp_path)


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b"x,0.5,1\n", b"3,abc,1\n", b"4," + b"1" * 200_000 + b",1\n"]
)
def test_the_rest_of_a_damaged_log_is_left_out(tmp_path, damage):
    write_log(tmp_path, LOG.encode() + damage)
    with pytest.warns(LimbeckWarning, match=r"metrics\.csv is damaged"):
        assert len(gather_scalars(tmp_path)) <= 3


def test_folders_of_others_are_no_logs(tmp_path):
    write_log(tmp_path, LOG)
    write_log(tmp_path, "epoch,other/seed0/train_loss\n0,1\n", version="x")
    write_log(tmp_path, LOG.replace("0.5", "0.75"), version=10)
    assert [row["value"] for row in gather_scalars(tmp_path)] == [0.75, 0.25, 0.125]


def test_loggers_that_do_not_close_are_left_behind_after_an_interrupt(monkeypatch):
    statuses = []

    class Slow:
        def finalize(self, status):
            time.sleep(60)

    class Quick:
        def finalize(self, status):
            statuses.append(status)

    monkeypatch.setattr("limbeck.training.loggers.CLOSING_SECONDS", 0.05)
    monkeypatch.setattr("limbeck._base.signals._state.first", 15)
    start = time.monotonic()
    close_loggers([Slow().finalize, Quick().finalize], "failed")
    assert time.monotonic() - start < 5
    assert statuses == ["failed"]
