"""A study in trackio, read back from its database."""

import json
import sqlite3
import subprocess
import sys

import pytest
from support.commands import SOURCE

pytest.importorskip("trackio", reason="trackio is not installed: pip install 'limbeck[trackio]'")

SCRIPT = """
import sys
from pathlib import Path
from support.logged_studies import log_study
from limbeck.training.loggers import trackio_logger
folder = Path(sys.argv[1])
log_study(trackio_logger(folder / "logs"), folder)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The database of a process of its own: trackio reads its folder when it is imported."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", f"{SOURCE}:{SOURCE}/../tests")
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder], capture_output=True, text=True, timeout=240
        )
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    assert "goes on without" not in process.stderr
    with sqlite3.connect(folder / "logs" / "trackio" / "limbeck.db") as connection:
        yield connection, folder


def test_settings_curves_results_and_verdict(database):
    connection, _ = database
    rows = connection.execute("SELECT step, metrics FROM metrics").fetchall()
    values = {}
    for step, metrics in rows:
        for name, value in json.loads(metrics).items():
            values.setdefault(name, []).append((step, value))
    assert [step for step, _ in values["validation accuracy/soft/mean"]] == [0, 1]
    assert values["test errors/soft"][0][1] == 12.5
    assert values["verdict"][0][1] == "helps"
    assert "| soft | 12.5 ± 1.0 |" in json.dumps(values["test results"], ensure_ascii=False)
    ((config,),) = connection.execute("SELECT config FROM configs").fetchall()
    assert json.loads(config)["objective.temperature"] == 4.0


def test_the_report_is_an_artifact(database):
    _, folder = database
    blobs = [file for file in (folder / "logs" / "trackio").rglob("*") if file.is_file()]
    assert "<p>report</p>" in [file.read_bytes().decode("utf-8", "replace") for file in blobs]
