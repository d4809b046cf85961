"""PyTorch's cache of compiled code is not a folder that others may create."""

import os
import subprocess
import sys

import pytest
from support.commands import SOURCE

from limbeck._base.compiler_cache import VARIABLE, use_private_compiler_cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards
    monkeypatch.delenv(VARIABLE)
    return tmp_path


def test_compiled_code_is_kept_in_the_cache_of_the_user(home):
    use_private_compiler_cache()
    folder = home / "cache" / "limbeck" / "compiled"
    assert os.environ[VARIABLE] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_the_user_is_not_changed(home, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/mine")
    use_private_compiler_cache()
    assert os.environ[VARIABLE] == "/mine"


def test_without_a_cache_a_new_folder_is_used_and_removed(home):
    (home / "cache").write_text("no folder", encoding="utf-8")
    script = (
        "import os\n"
        "from limbeck._base.compiler_cache import VARIABLE, use_private_compiler_cache\n"
        "use_private_compiler_cache()\n"
        "print(os.environ[VARIABLE], os.path.isdir(os.environ[VARIABLE]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE, "TMPDIR": str(home)}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    folder, exists = process.stdout.split()
    assert folder.startswith(str(home / "limbeck-"))
    assert exists == "True"
    assert not os.path.exists(folder)
