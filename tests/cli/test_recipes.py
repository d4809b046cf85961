"""``limbeck recipes`` on folders with files that are no recipes."""

import os

import pytest
from support.commands import call


@pytest.mark.parametrize("kind", ["broken link", "folder", "pipe", "bytes"])
def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path, kind):
    file = tmp_path / "recipe" / "mine.yaml"
    file.parent.mkdir()
    if kind == "broken link":
        file.symlink_to("nowhere")
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.write_bytes(b"# \xff\x1b[31m mine\n")
    (tmp_path / "recipe" / "other.yaml").write_text("# The other one.\n")
    code, out, err = call("recipes", "--config-dir", tmp_path)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert rows["other"].endswith("The other one.")
    assert "\x1b" not in out
    assert ("(cannot be read)" in rows["mine"]) == (kind != "bytes")


def test_a_folder_that_is_missing_is_reported(tmp_path):
    code, out, err = call("recipes", "--config-dir", tmp_path / "none")
    assert (code, out) == (2, "")
    assert "none is not a folder" in err
