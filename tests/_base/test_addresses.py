import pytest

from limbeck._base.addresses import is_address


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket/answers.csv", True),
        ("zip://a.csv::https://example.org/a.zip", True),
        ("answers.csv", False),
        ("/data/answers", False),
        ("C:\\data\\answers.csv", False),
    ],
)
def test_addresses_differ_from_paths(source, expected):
    assert is_address(source) is expected
