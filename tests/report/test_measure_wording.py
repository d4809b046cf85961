from dataclasses import replace

import pytest
from support.summaries import IMAGES, TEXT, make_comparison

from limbeck.report.measure_wording import BITS_PER_BYTE_WORDING as BITS
from limbeck.report.measure_wording import ERRORS_WORDING as ERRORS
from limbeck.run.comparison import Delta


@pytest.mark.parametrize(
    ("delta", "change", "size", "interval"),
    [
        (Delta(mean=-0.0524, ci95=(-0.061, -0.0434)), "−0.052", "0.052", "−0.061 to −0.043"),
        (Delta(mean=0.01, ci95=(-0.0004, 0.0204)), "+0.010", "0.010", "0.000 to 0.020"),
        (Delta(mean=0.00999, ci95=(0.0011, 0.0188)), "+0.0100", "0.0100", "0.0011 to 0.0188"),
        (Delta(mean=-0.00002, ci95=None), "0.0000", "0.0000", "–"),
    ],
)
def test_small_changes_have_one_more_decimal(delta, change, size, interval):
    comparison = make_comparison("soft", "hard", delta_bits_per_byte=delta)
    assert BITS.change(comparison) == change
    assert BITS.change(comparison, signed=False) == size
    assert BITS.interval(comparison) == interval


@pytest.mark.parametrize(("interval", "change"), [((-5.0, -3.0), "−4.0"), (None, "−4")])
def test_a_mean_of_errors_has_a_decimal(interval, change):
    delta = Delta(mean=-4.0, ci95=interval, ci95_total=(-7.0, -1.0))
    comparison = make_comparison("soft", "hard", delta_errors=delta)
    assert ERRORS.change(comparison) == change
    assert ERRORS.interval(comparison) == "−7.0 to −1.0"
    over_seeds = "–" if interval is None else "−5.0 to −3.0"
    assert ERRORS.interval(comparison, over_seeds=True) == over_seeds


def test_a_spread_is_formatted_like_its_mean():
    assert ERRORS.mean_and_sd(85.3, 4.21) == "85.3 ± 4.2"
    assert ERRORS.mean_and_sd(85, None) == "85"
    assert BITS.mean_and_sd(2.3412, 0.0049) == "2.341 ± 0.005"
    assert BITS.mean_and_sd(2.3412, None) == "2.341"


def test_the_test_split_is_described_by_its_size():
    assert ERRORS.test_split(replace(IMAGES, test=10000)) == "10,000 test samples"
    assert BITS.test_split(TEXT) == "4,032 test tokens (1,234,567 bytes)"
    assert BITS.axis(TEXT) == "bits per byte on 1,234,567 bytes of test text"


def test_unknown_sizes_of_text_are_left_out():
    data = replace(TEXT, test=1, tokenizer=None, block=None, tokens=None, bytes=None)
    assert BITS.axis(data) == "bits per byte of test text"
    assert BITS.test_split(data) == "1 test block"
    assert BITS.data_settings(data) == [
        ("Data", "letters"),
        ("Tokenizer", "–, vocabulary of 256"),
        ("Blocks", "90 training, 5 validation, 1 test"),
        ("Tokens", ""),
    ]
