import math

import pytest

from limbeck._base.errors import UntrustedFileError
from limbeck.report.judged_by import BITS_PER_BYTE, ERRORS, measure_of


def test_errors_where_a_summary_does_not_say():
    assert measure_of({}) is ERRORS
    assert measure_of({"measure": "bits_per_byte"}) is BITS_PER_BYTE
    for damaged in ("accuracy", None, ["errors"], 3):
        with pytest.raises(
            UntrustedFileError, match="measure should be 'errors' or 'bits_per_byte'"
        ):
            measure_of({"measure": damaged})


def test_numbers_that_are_none():
    for value in (None, math.nan, math.inf, "1", True):
        assert BITS_PER_BYTE.of({"bits_per_byte": value}) is None
    assert BITS_PER_BYTE.of({"errors": 3}) is None
    assert ERRORS.of({"errors": 3, "bits_per_byte": 2.0}) == 3
    seeds = [{"val": {"errors": e}, "test": {"errors": t}} for e, t in ((2, 9), (4, None))]
    assert ERRORS.on_validation({"seeds": seeds}) == 3
    assert ERRORS.of_seeds({"seeds": seeds}) == [9]
    assert ERRORS.on_validation({"seeds": [*seeds, {"val": {"errors": None}}]}) == math.inf


@pytest.mark.parametrize(
    ("delta", "change", "size", "interval"),
    [
        ({"mean": -0.0524, "ci95": [-0.061, -0.0434]}, "−0.052", "0.052", "−0.061 to −0.043"),
        ({"mean": 0.01, "ci95": [-0.0004, 0.0204]}, "+0.010", "0.010", "0.000 to 0.020"),
        ({"mean": 0.00999, "ci95": [0.0011, 0.0188]}, "+0.0100", "0.0100", "0.0011 to 0.0188"),
        ({"mean": -0.00002, "ci95": None}, "0.0000", "0.0000", "–"),
    ],
)
def test_small_changes_have_one_more_decimal(delta, change, size, interval):
    comparison = {"delta_bits_per_byte": delta}
    assert BITS_PER_BYTE.change(comparison) == change
    assert BITS_PER_BYTE.change(comparison, signed=False) == size
    assert BITS_PER_BYTE.interval(comparison) == interval


def test_errors_have_a_decimal_where_they_are_a_mean():
    assert ERRORS.change({"delta_errors": {"mean": -4.0, "ci95": [-5, -3]}}) == "−4.0"
    assert ERRORS.change({"delta_errors": {"mean": -4.0, "ci95": None}}) == "−4"
    assert ERRORS.mean_and_sd(85.3, 4.21) == "85.3 ± 4.2"
    assert ERRORS.mean_and_sd(85, None) == "85"
    assert BITS_PER_BYTE.mean_and_sd(2.3412, 0.0049) == "2.341 ± 0.005"
    assert BITS_PER_BYTE.mean_and_sd(2.3412, None) == "2.341"


def test_what_a_summary_does_not_tell_of_text_is_left_out():
    data = {"name": "letters", "classes": 256, "train": 90, "val": 5, "test": 1}
    assert BITS_PER_BYTE.unit(data) == "bits per byte of test text"
    assert BITS_PER_BYTE.tested(data) == "1 test block"
    assert BITS_PER_BYTE.settings(data) == [
        ("Data", "letters"),
        ("Tokenizer", "–, a vocabulary of 256"),
        ("Blocks", "90 to train, 5 to validate, 1 to test"),
        ("Tokens", ""),
    ]
    told = data | {"tokens": {"test": 63000}, "bytes": {"test": 64512}}
    assert BITS_PER_BYTE.tested(told) == "63,000 test tokens (64,512 bytes)"
    assert BITS_PER_BYTE.unit(told) == "bits per byte on 64,512 bytes of test text"
    assert ERRORS.tested(data | {"test": 10000}) == "10,000 test samples"
