"""A disk that fails anywhere, or a kill, loses nothing of a run: a sample of places and faults.

``benchmarks/faults.py`` tries all places, with commands in processes of their own.
"""

import json
import multiprocessing
import os
import re
import signal
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.failing_study import run_in_failing_process, study
from support.faults import KILLS, Disk, Killed
from support.image_studies import same_students

from limbeck._base.errors import ResourceError
from limbeck._base.files import TEMPORARY_FILE


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Folder of an undisturbed run, and its file operations with their paths inside it."""
    folder = tmp_path_factory.mktemp("whole").resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda *_: None)
        with Disk(folder) as disk:
            study(data, folder).run()
    return folder, [(item.kind, os.path.relpath(item.path, folder)) for item in disk.operations]


def check_files(folder):
    """Every file under its final name is complete."""
    for file in folder.rglob("*"):
        if TEMPORARY_FILE.fullmatch(file.name):
            continue
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".npz":
            with np.load(file) as arrays:
                assert list(arrays.values())
        elif file.suffix == ".safetensors":
            load_file(file)


def run_until_killed(data, folder, fault, at):
    """Run a study in a process of its own that is killed at an operation.

    A fork of this process could not train: earlier tests may have started threads of PyTorch.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([run_in_failing_process.__module__])
    process = context.Process(target=run_in_failing_process, args=(data, folder, fault, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*checkpoint")
@pytest.mark.parametrize(
    ("fault", "kind", "place"),
    [
        ("ENOSPC", "write", r"run/\.manifest\.json"),
        ("ENOSPC", "write", r"run/students/.*model\.safetensors"),
        pytest.param("ENOSPC", "open", r"store/.*answers\.bin", marks=pytest.mark.slow),
        pytest.param("EIO", "sync", r"run/teacher/\.model\.safetensors", marks=pytest.mark.slow),
        ("EIO", "rename", r"run/summary\.json"),
        pytest.param("EIO", "write", r"run/checkpoints/.*", marks=pytest.mark.slow),
        ("EACCES", "open", r"run/\.predictions\.npz"),
        pytest.param("EACCES", "folder", r"run/students/.*", marks=pytest.mark.slow),
        pytest.param(
            "kill before", "rename", r"run/students/.*model\.json", marks=pytest.mark.slow
        ),
        pytest.param("kill during", "write", r"run/\.manifest\.json", marks=pytest.mark.slow),
        ("kill during", "write", r"run/students/.*model\.safetensors"),
        pytest.param("kill during", "write", r"store/.*answers\.bin", marks=pytest.mark.slow),
        pytest.param("kill after", "rename", r"run/checkpoints/.*", marks=pytest.mark.slow),
        pytest.param("kill after", "rename", r"run/summary\.json", marks=pytest.mark.slow),
    ],
)
def test_a_run_is_resumed_after_a_fault(data, whole, tmp_path, fault, kind, place):
    expected, operations = whole
    numbers = [
        number
        for number, (other, path) in enumerate(operations)
        if other == kind and re.match(place, path)
    ]
    at = numbers[len(numbers) // 2]
    if fault in KILLS:
        run_until_killed(data, tmp_path, fault, at)
    else:
        with Disk(tmp_path, fault=fault, at=at), suppress(OSError, ResourceError):
            study(data, tmp_path).run()  # a fault of a checkpoint is a warning
    check_files(tmp_path)
    study(data, tmp_path, resume=(tmp_path / "run" / "manifest.json").is_file()).run()
    check_files(tmp_path)
    assert same_students(tmp_path / "run", expected / "run")
    with (
        np.load(tmp_path / "run" / "predictions.npz") as ours,
        np.load(expected / "run" / "predictions.npz") as theirs,
    ):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    leftovers = [file for file in tmp_path.rglob("*") if TEMPORARY_FILE.fullmatch(file.name)]
    assert not leftovers


def test_no_operation_is_counted_outside_the_folders(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    with Disk(inside, fault="ENOSPC", at=0) as disk:
        (outside / "file").write_text("1")
        with pytest.raises(OSError, match="No space left"):
            (inside / "file").write_text("1")
    assert [operation.kind for operation in disk.operations] == ["open"]
    assert not (inside / "file").exists()


def test_half_of_the_bytes_are_written_before_a_kill(tmp_path):
    def write():
        with (tmp_path / "file").open("wb") as file:
            file.write(b"1234")

    with Disk(tmp_path, fault="kill during", at=1), pytest.raises(Killed):
        write()
    assert (tmp_path / "file").read_bytes() == b"12"
