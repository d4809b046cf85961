import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data.copies import copies_in


@given(values=st.lists(st.integers(0, 5), max_size=30), byte=st.integers(0, 31))
def test_copies_are_those_of_a_dictionary(values, byte):
    digests = np.zeros((len(values), 32), np.uint8)
    digests[:, byte] = values
    first, pairs = {}, []
    for row, value in enumerate(values):
        if first.setdefault(value, row) != row:
            pairs.append((first[value], row))
    assert copies_in(digests) == pairs
