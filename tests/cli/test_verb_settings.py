"""Settings of the form ``KEY=VALUE`` after a verb."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.cli.verb_settings import Setting, read_settings

SHARE = {"share": Setting(float, "share=0.002", "a share")}


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("1", 1.0), ("1e-3", 0.001)])
def test_numbers_may_have_exponents(text, value):
    assert read_settings([f"share={text}"], SHARE) == {"share": value}


@pytest.mark.parametrize("text", ["much", "true", "nan", "1e400", "[1", ""])
def test_other_values_are_refused(text):
    with pytest.raises(ConfigError, match=r"share=.* should be a number\. Example: share=0\.002"):
        read_settings([f"share={text}"], SHARE)


def test_a_result_is_not_written_to_an_address():
    with pytest.raises(ConfigError, match=r"to=s3://bucket/bundle: this command writes to this"):
        read_settings(["to=s3://bucket/bundle"], {"to": Setting(str, "to=FOLDER", "folder")})
