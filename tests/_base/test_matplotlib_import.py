"""Matplotlib's settings in the working folder, which may be the folder of somebody else."""

import os
import subprocess
import sys

import pytest
from support.commands import SOURCE

SCRIPT = """
import os
from limbeck._base.matplotlib_import import import_matplotlib
folder = os.getcwd()
import_matplotlib(with_settings={})
import matplotlib
assert os.getcwd() == folder
print(matplotlib.rcParams["figure.dpi"], os.environ.get("MATPLOTLIBRC"))
"""


def output(folder, with_settings, **environment):
    """Print the resolution of figures, and the file of settings that the environment names."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(with_settings)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
        timeout=60,
        check=True,
    )
    return process.stdout.strip()


@pytest.mark.parametrize("kind", ["pipe", "damaged", "endless", "settings"])
def test_settings_of_the_working_folder_are_not_read(kind, tmp_path):
    file = tmp_path / "matplotlibrc"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(b"\xff\x00" if kind == "damaged" else b"figure.dpi: 17")
    assert output(tmp_path, False, MATPLOTLIBRC="mine") == "100.0 mine"


def test_a_program_of_the_user_has_its_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 17")
    assert output(tmp_path, True) == "17.0 None"
