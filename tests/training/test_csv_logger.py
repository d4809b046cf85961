"""Rows of the CSV log survive new columns, full disks and kills."""

import csv
import errno
import os
import signal

import pytest
import torch
from support.faults import ERRORS, KILLS, Disk, Killed

from limbeck.training.csv_logger import CSVLogger
from limbeck.training.loggers import gather_scalars

ROWS = (
    {"epoch": 0, "soft/seed0/train_loss": 0.5},
    {"epoch": 0, "soft/seed0/val_errors": torch.tensor(3)},
    {"epoch": 1, "soft/seed0/train_loss": 0.25},
    {"epoch": 1, "soft/seed0/val_errors": torch.tensor(2)},
)
VALUES = [0.5, 3.0, 0.25, 2.0]


def log(folder, rows=ROWS):
    logger = CSVLogger(folder, "cohort0")
    for row in rows:
        logger.log_metrics(row)
    return logger


def values(folder):
    return [row["value"] for row in gather_scalars(folder)]


def test_columns_that_appear_later_join_the_file(tmp_path):
    logger = log(tmp_path)
    assert (logger.name, logger.version) == ("cohort0", 0)
    rows = list(csv.DictReader(logger.file.read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "soft/seed0/train_loss", "soft/seed0/val_errors", "step"]
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert values(tmp_path) == VALUES
    assert log(tmp_path, ROWS[:1]).version == 1


def operations(tmp_path):
    with Disk(tmp_path) as disk:
        log(tmp_path / "whole")
    return disk.operations


@pytest.mark.parametrize("fault", [*ERRORS, *KILLS])
def test_no_fault_loses_a_row_that_was_written(tmp_path, fault):
    for number, operation in enumerate(operations(tmp_path)):
        if not operation.takes(fault):
            continue
        folder = tmp_path / f"{number}"
        logger, count = CSVLogger(folder, "cohort0"), 0
        try:
            with Disk(tmp_path, fault=fault, at=number):
                for row in ROWS:
                    logger.log_metrics(row)
                    count += 1
        except (OSError, Killed):
            pass
        assert values(folder)[:count] == VALUES[:count]
        assert values(folder) in (VALUES[:count], VALUES[: count + 1])


def test_half_a_last_line_is_no_value(tmp_path):
    file = log(tmp_path, ROWS[:1] + ROWS[2:3]).file
    text = file.read_bytes()
    for length in range(len(text) - 1, text.index(b"0.25"), -1):
        file.write_bytes(text[:length])
        is_complete = text[:length].endswith(b"\r")
        assert values(tmp_path) == ([0.5, 0.25] if is_complete else [0.5])


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
def test_a_row_that_does_not_fit_is_cut_off(tmp_path):
    import resource

    logger = log(tmp_path, ROWS[:3])
    text = logger.file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(text) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            logger.log_metrics(ROWS[3])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert logger.file.read_bytes() == text
