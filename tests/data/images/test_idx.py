"""The idx format: read exactly, and every damage is named."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.idx_files import idx

from limbeck._base.errors import DataError
from limbeck.data.images.idx import read_idx

LABELS = idx(np.arange(20) % 10)
PACKED = gzip.compress(LABELS)
DAMAGE = {
    "empty": (b"", "begins with nothing"),
    "one byte": (b"\0", "begins with 00"),
    "no data at all": (LABELS[:4], "ends within its header of 8 bytes"),
    "half a header": (LABELS[:6], "ends within its header"),
    "header alone": (LABELS[:8], "20 bytes, but 0 follow"),
    "short": (LABELS[:-1], "20 = 20 bytes, but 19 follow"),
    "long": (LABELS + b"\0", "20 bytes, but 21 follow"),
    "wrong magic": (b"\x01" + LABELS[1:], "not the expected idx file: it begins with 01 00 08 01"),
    "floats": (
        idx(np.arange(20), kind=0x0D),
        "begins with 00 00 0d 01, but unsigned bytes in 1 dimension begin with 00 00 08 01",
    ),
    "images in place of labels": (idx(np.zeros((20, 1, 1))), "begins with 00 00 08 03"),
    "a web page": (b"<!DOCTYPE html><html>", "not the expected idx file"),
    "more than memory": (
        idx(np.arange(20), shape=(2**32 - 1,)),
        "4294967295 bytes, but 20 follow",
    ),
    "gzip of nothing": (gzip.compress(b""), "begins with nothing"),
    "gzip of another file": (gzip.compress(b"hello"), "begins with 68 65 6c 6c"),
    "gzip checksum": (
        PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:],
        "is damaged .*Download it again",
    ),
    "gzip length": (PACKED[:-1] + b"\x01", "is damaged .*Download it again"),
    "gzip method": (b"\x1f\x8b\x07" + PACKED[3:], "is damaged .*Download it again"),
    "gzip with a tail": (PACKED + b"tail", "is damaged .*Download it again"),
    "gzip inside": (
        PACKED[:12] + bytes(byte ^ 0xFF for byte in PACKED[12:16]) + PACKED[16:],
        "is damaged",
    ),
}
for _cut in (2, 5, 9, 10, 15, len(PACKED) - 9, len(PACKED) - 1):
    DAMAGE[f"gzip cut at {_cut}"] = (PACKED[:_cut], "is damaged")


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    gz=st.booleans(),
    seed=st.integers(0, 99),
)
def test_reading_inverts_writing(tmp_path_factory, shape, gz, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = tmp_path_factory.getbasetemp() / "any.idx"
    file.write_bytes(gzip.compress(idx(array)) if gz else idx(array))
    result = read_idx(file, dimensions=len(shape))
    assert result.dtype == np.uint8
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_named(tmp_path, kind):
    content, message = DAMAGE[kind]
    file = tmp_path / "labels.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(file, dimensions=1)
    assert str(file) in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), packed=st.booleans())
def test_any_damage_is_a_data_error(tmp_path_factory, data, packed):
    good = PACKED if packed else LABELS
    cut = data.draw(st.integers(0, len(good)))
    noise = data.draw(st.binary(max_size=12))
    content = good[:cut] + noise + good[cut + data.draw(st.integers(0, 6)) :]
    file = tmp_path_factory.getbasetemp() / "damaged.idx"
    file.write_bytes(content)
    message = None
    try:
        assert read_idx(file, dimensions=1).ndim == 1
    except DataError as error:  # any other error is not caught
        message = str(error)
    assert message is None or str(file) in message
