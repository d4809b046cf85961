"""Sizes in messages."""

from limbeck._base.sizes import format_bytes


def test_sizes_for_people():
    sizes = [0, 999, 1000, 30_040_000, 2e9, 3.21e12, 5e15]
    expected = ["0 bytes", "999 bytes", "1.0 kB", "30.0 MB", "2.0 GB", "3.2 TB", "5000.0 TB"]
    assert list(map(format_bytes, sizes)) == expected
