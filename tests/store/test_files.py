"""Folders of stores."""

import pytest
from support.store_cases import image_pass, open_quietly

from limbeck._base.errors import ResourceError
from limbeck.store.files import format_bytes
from limbeck.store.folder import check_folder


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ResourceError, match="is not a folder"):
            check_folder(path)
        with pytest.raises(ResourceError, match="cannot be written"):
            open_quietly(image_pass(), path)
    assert (tmp_path / "file").read_text() == "mine"
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_sizes_for_people():
    sizes = [0, 999, 1000, 30_040_000, 2e9, 3.21e12, 5e15]
    expected = ["0 bytes", "999 bytes", "1.0 kB", "30.0 MB", "2.0 GB", "3.2 TB", "5000.0 TB"]
    assert list(map(format_bytes, sizes)) == expected
