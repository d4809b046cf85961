from pathlib import Path

import pytest

from limbeck._base.addresses import add_copy, is_address, path_of, with_addresses
from limbeck._base.errors import DataError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket/answers.csv", True),
        ("zip://a.csv::https://example.org/a.zip", True),
        ("simplecache::s3://bucket/a.csv", True),
        ("answers.csv", False),
        ("/data/answers", False),
        ("C:\\data\\answers.csv", False),
        ("std::vector", False),
        ("photos/a://b", False),
    ],
)
def test_addresses_differ_from_paths(source, expected):
    assert is_address(source) is expected


def test_file_addresses_are_paths_of_this_machine():
    assert path_of("file:///data/my%20photos") == Path("/data/my photos")
    assert path_of("photos") == Path("photos")
    assert path_of("s3://bucket/photos") is None


def test_messages_name_the_address_instead_of_its_copy(tmp_path):
    add_copy(tmp_path / "run", "s3://bucket/run")
    add_copy(tmp_path / "run" / "a.csv", "s3://bucket/table.csv")
    text = f"{tmp_path / 'run' / 'report.html'} and {tmp_path / 'run' / 'a.csv'}"
    assert with_addresses(text) == "s3://bucket/run/report.html and s3://bucket/table.csv"
    assert str(DataError(f"{tmp_path / 'run'} is damaged")) == "s3://bucket/run is damaged"
