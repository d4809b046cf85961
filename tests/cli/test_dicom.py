"""A study of DICOM files: its student, its bundle, and no data of patients anywhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import TINY

from limbeck.cli.main import main

pytest.importorskip("pydicom", reason="DICOM needs pydicom (limbeck[dicom])")

from support.dicom_files import PATIENT, write_dicom


def write_scans(root, count=20):
    """Two classes of scans with 12 bits and a window, without suffix."""
    random = np.random.default_rng(0)
    window = {"WindowCenter": 1500, "WindowWidth": 2500}
    for label, name in enumerate(("healthy", "ill")):
        (root / name).mkdir(parents=True)
        for number in range(count):
            values = random.integers(0, 2000, (8, 8), dtype=np.uint16) + 1500 * label
            write_dicom(root / name / f"IM{number:04}", values, bits=12, **window)
    return root


@pytest.mark.slow
def test_a_study_of_scans_leaves_no_trace_of_patients(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    scans = write_scans(tmp_path / "scans")
    words = ["data=image_folder", "data.root=scans", "data.size=8", "data.channels=1", *TINY]
    assert main(["run", "quick=true", "out=run", *words]) == 0
    assert main(["export", "run", "to=bundle"]) == 0
    assert main(["predict", "bundle", "scans", "--out", "own.csv"]) == 0
    shutil.copytree("bundle", tmp_path / "elsewhere")  # with its own runtime, without limbeck
    program = [sys.executable, "elsewhere/run.py", "predict", "scans", "--out", "other.csv"]
    process = subprocess.run(program, capture_output=True, text=True, check=True)
    assert Path("own.csv").read_bytes() == Path("other.csv").read_bytes()
    assert len(Path("own.csv").read_text().splitlines()) == 41

    output = "".join(capsys.readouterr()) + process.stdout + process.stderr
    assert PATIENT not in output
    for file in tmp_path.rglob("*"):
        if file.is_file() and scans not in file.parents:
            assert PATIENT.encode() not in file.read_bytes(), file
