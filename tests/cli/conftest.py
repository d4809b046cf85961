"""A finished run of the command line."""

import pytest
from support.commands import QUICK, call


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory):
    """Folder of a run on digits. ``export`` and ``cost`` add files to it."""
    folder = tmp_path_factory.mktemp("quick-run")
    code, _, err = call("run", *QUICK, "out=run", cwd=folder)
    assert code == 0, err
    return folder / "run"
