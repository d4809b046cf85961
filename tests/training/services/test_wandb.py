"""A study in Weights & Biases, offline, read back."""

import subprocess
import sys

import pytest
from support.commands import SOURCE
from support.logged_studies import TEST
from support.wandb_files import history, reports, values

pytest.importorskip("wandb", reason="wandb is not installed: pip install 'limbeck[wandb]'")

SCRIPT = """
import sys
from pathlib import Path
from support.logged_studies import log_study
from limbeck.training.loggers import wandb_logger
folder = Path(sys.argv[1])
log_study(wandb_logger(folder / "logs", mode="offline", group=sys.argv[2]), folder)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The file of a process of its own, whose command line holds a secret."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{SOURCE}:{SOURCE}/../tests")
        patch.setenv("WANDB_API_KEY", "s3cr3t" * 7)
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder, "digits", "password=s3cr3t"],
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    assert "goes on without" not in process.stderr
    (file,) = (folder / "logs" / "wandb").glob("offline-run-*/*.wandb")
    return file


def test_curves_have_epochs(file):
    curves = history(file)
    assert curves["validation accuracy/soft/mean"] == pytest.approx([0.6, 0.7])
    assert curves["epoch"] == [0, 0, 1, 1]  # the last is that of the table


def test_settings_and_results(file):
    assert values(file, "config")["objective.temperature"] == 4.0
    summary = values(file, "summary")
    assert summary["verdict"] == "helps"
    assert {name: summary[name] for name in TEST} == TEST
    assert "soft makes fewer errors" in summary["conclusion"]


def test_table_and_report(file):
    table = {name: values for name, values in history(file).items() if "test results" in name}
    assert (table["test results/ncols"], table["test results/nrows"]) == ([2], [2])
    assert reports(file) == ["report.html"]


def test_no_secret_is_recorded(file):
    contents = [path.read_bytes() for path in file.parents[1].rglob("*") if path.is_file()]
    assert len(contents) > 2
    assert not any(b"s3cr3t" in content for content in contents)
