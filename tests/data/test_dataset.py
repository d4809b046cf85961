import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float


def arrays(n=30, n_test=12, classes=3, shape=(1, 4, 5), seed=0):
    random = np.random.default_rng(seed)
    x, x_test = (random.integers(0, 256, (k, *shape), dtype=np.uint8) for k in (n, n_test))
    y, y_test = np.arange(n) % classes, np.arange(n_test) % classes
    return x, y, x_test, y_test


def rows(inputs):
    return sorted(row.tobytes() for row in inputs.numpy())


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 60), val=st.integers(1, 59), seed=st.integers(0, 1 << 62))
def test_the_split_is_a_partition(n, val, seed):
    x = torch.arange(n, dtype=torch.float32)[:, None]
    split = Split(x, torch.zeros(n, dtype=torch.int64))
    if val >= n:
        with pytest.raises(
            ConfigError, match=rf"data\.val={val} should be a whole number from 1 to {n - 1}"
        ):
            Dataset("d", split, split, class_names=["a", "b"], val=val, split_seed=seed)
        return
    first, second = (
        Dataset("d", split, split, class_names=["a", "b"], val=val, split_seed=seed)
        for _ in range(2)
    )
    train, held_out = (part.inputs.flatten().tolist() for part in (first.train, first.val))
    assert (len(train), len(held_out)) == (n - val, val)
    assert sorted(train + held_out) == list(range(n))
    assert train == sorted(train)
    assert held_out == sorted(held_out)
    assert torch.equal(first.val.inputs, second.val.inputs)


def test_inputs_keep_their_labels():
    x = torch.arange(40, dtype=torch.float32)[:, None]
    data = Dataset(
        "d", Split(x, torch.arange(40)), Split(x, torch.arange(40)), class_names=range(40), val=7
    )
    for split in (data.train, data.val, data.open_test()):
        assert torch.equal(split.inputs.flatten().long(), split.labels)


def test_other_split_seeds_give_other_splits():
    parts = [Dataset.from_arrays(*arrays(), split_seed=seed).val.inputs for seed in range(4)]
    assert len({part.numpy().tobytes() for part in parts}) == 4


@pytest.mark.parametrize("val", [0, -1, 30, 31, 1.0, 0.1, True, "5"])
def test_a_bad_number_of_validation_samples_is_named(val):
    with pytest.raises(ConfigError, match=r"data\.val="):
        Dataset.from_arrays(*arrays(), val=val)


def test_a_tenth_is_held_out_for_validation_by_default():
    assert len(Dataset.from_arrays(*arrays(n=35)).val) == 3
    assert len(Dataset.from_arrays(*arrays(n=2, classes=2)).val) == 1


@pytest.mark.parametrize("part", ["training", "test"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda x, y: (x, y[:-1]), "expected one label per input"),
        (lambda x, y: (x[:-1], y), "expected one label per input"),
        (lambda x, y: (x, y[:, None]), "expected one label per input"),
        (lambda x, y: (x, y[0]), "expected one label per input"),
        (lambda x, y: (x[:0], y[:0]), "split is empty"),
        (
            lambda x, y: (x, np.where(y == 2, 3, y)),
            "labels range from 0 to 3, but 3 classes have labels from 0 to 2",
        ),
        (lambda x, y: (x, y - 1), "labels range from -1 to 1"),
        (lambda x, y: (x, y.astype(np.float32)), "labels should be integers, got torch.float32"),
        (lambda x, y: (x, y == 1), "labels should be integers, got torch.bool"),
        (lambda x, y: (x, y.astype(str)), "labels should be an array of numbers"),
        (lambda x, y: (np.full(x.shape, "a"), y), "inputs should be an array of numbers"),
        (lambda x, y: ([[1.0], [1.0, 2.0]], y), "inputs should be an array of numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_named_with_its_split(part, damage, message):
    x, y, x_test, y_test = arrays()
    if part == "training":
        x, y = damage(x, y)
    else:
        x_test, y_test = damage(x_test, y_test)
    with pytest.raises(DataError, match=message) as caught:
        Dataset.from_arrays(x, y, x_test, y_test, name="mine", class_names="abc", val=5)
    assert "mine" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_numbers_are_refused(bad):
    x, y, x_test, y_test = arrays()
    x = x.astype(np.float32)
    x[17, 0, 2, 3] = bad
    with pytest.raises(DataError, match=f"arrays, training split: sample 17 contains {bad} "):
        Dataset.from_arrays(x, y, x_test.astype(np.float32), y_test)


def test_training_and_test_inputs_should_have_one_form():
    x, y, x_test, y_test = arrays()
    with pytest.raises(DataError, match="need inputs of the same shape"):
        Dataset.from_arrays(x, y, x_test[..., :-1], y_test)
    with pytest.raises(DataError, match="need inputs of the same shape"):
        Dataset.from_arrays(x, y, x_test.astype(np.float32), y_test)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("label_type", [np.uint8, np.int32, np.int64, np.dtype(">i4")])
def test_arrays_and_tensors_of_any_integer_type(as_tensor, label_type):
    x, y, x_test, y_test = arrays()
    y, y_test = y.astype(label_type), y_test.astype(label_type)
    values = (x, y, x_test, y_test)
    if as_tensor:
        values = [torch.from_numpy(a.astype(a.dtype.newbyteorder("="))) for a in values]
    data = Dataset.from_arrays(*values, val=4)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert (data.shape, data.classes, data.class_names) == ((1, 4, 5), 3, ["0", "1", "2"])
    assert rows(torch.cat([data.train.inputs, data.val.inputs])) == rows(torch.from_numpy(x))
    assert data.open_test().labels.tolist() == y_test.tolist()
    assert data.test_size == 12


def test_grey_images_get_their_channel():
    x, y, x_test, y_test = arrays()
    assert Dataset.from_arrays(x[:, 0], y, x_test[:, 0], y_test).shape == (1, 4, 5)


def test_features_become_float32():
    x, y, x_test, y_test = arrays(shape=(6,))
    for kind in (np.float64, np.float16):
        data = Dataset.from_arrays(x.astype(kind), y, x_test.astype(kind), y_test)
        assert (data.train.inputs.dtype, data.shape) == (torch.float32, (6,))


@pytest.mark.filterwarnings("error")
def test_arrays_of_any_memory_layout():
    x, y, x_test, y_test = arrays(shape=(6,))
    reversed_x, swapped = x[::-1].astype(np.float32)[::-1], x_test.astype(">f4")
    reversed_x.setflags(write=False)
    data = Dataset.from_arrays(reversed_x, y, swapped, y_test)
    assert torch.equal(data.open_test().inputs, torch.from_numpy(x_test).float())
    graph = torch.from_numpy(x).float().requires_grad_()
    assert not Dataset.from_arrays(graph, y, swapped, y_test).train.inputs.requires_grad


def test_later_changes_of_an_array_do_not_matter():
    x, y, x_test, y_test = arrays()
    data = Dataset.from_arrays(x, y, x_test, y_test)
    before = data.digest()
    for array in (x, y, x_test, y_test):
        array[:] = 1
    assert data.digest() == before


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (7,), (4, 6)])
def test_statistics_equal_numpy(kind, shape):
    x, y, x_test, y_test = arrays(shape=shape)
    if kind is np.uint8 and len(shape) == 2:
        shape = (1, *shape)
    data = Dataset.from_arrays(x.astype(kind), y, x_test.astype(kind), y_test)
    inputs = data.train.inputs.numpy().astype(np.float64) / (255 if kind is np.uint8 else 1)
    axis = (0, 2, 3) if len(shape) == 3 else None
    mean, std = data.statistics
    np.testing.assert_allclose(mean, np.ravel(inputs.mean(axis)), rtol=1e-12)
    np.testing.assert_allclose(std, np.ravel(inputs.std(axis, ddof=1)), rtol=1e-12)


def test_a_constant_channel_is_divided_by_one():
    x, y, x_test, y_test = arrays(shape=(3, 4, 5))
    x[:, 1] = 7
    mean, std = Dataset.from_arrays(x, y, x_test, y_test).statistics
    assert mean[1] == pytest.approx(7 / 255)
    assert std[1] == 1.0


def test_bytes_become_floats_and_floats_stay():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_float(pixels), torch.arange(256).float() / 255)
    assert pixels[-1] == 255
    floats = torch.rand(3)
    assert as_float(floats) is floats


def test_the_head_has_the_first_samples_of_each_split():
    data = Dataset.from_arrays(*arrays(n=60, n_test=20), val=10)
    small = data.head(8)
    assert (len(small.train), len(small.val), len(small.open_test())) == (8, 4, 4)
    assert small.test_size == 4
    assert torch.equal(small.train.inputs, data.train.inputs[:8])
    assert (small.classes, small.shape, small.name) == (data.classes, data.shape, data.name)
    whole = data.head(1000)
    assert (len(whole.train), len(whole.val), len(whole.open_test())) == (50, 10, 20)
    assert whole.digest() == data.digest()
    assert small.digest() != data.digest()


def test_a_dataset_without_its_test_split_has_the_other_splits():
    data = Dataset.from_arrays(*arrays(n=60, n_test=20), val=10)
    rest = data.without_test()
    assert len(rest.open_test()) == 0
    assert rest.train.inputs is data.train.inputs
    assert rest.val.labels is data.val.labels
    assert rest.normalization == data.normalization
    assert len(data.open_test()) == 20


def test_every_change_changes_the_digest():
    def digest(**changes):
        values = dict(zip(("x", "y", "x_test", "y_test"), arrays(), strict=True))
        for name, place in changes.items():
            values[name][place] = (values[name][place] + 1) % 3
        return Dataset.from_arrays(*values.values(), val=4).digest()

    same = digest()
    assert len(same) == 64
    assert digest() == same
    x = arrays()[0]
    digests = {digest(x=(i, 0, 2, 3)) for i in range(len(x))} | {digest(y=i) for i in range(3)}
    digests |= {digest(x_test=(5, 0, 0, 0)), digest(y_test=5), same}
    assert len(digests) == 30 + 3 + 2 + 1


def test_another_shape_of_the_same_bytes_changes_the_digest():
    x, y, x_test, y_test = arrays(shape=(1, 4, 6))
    wide = Dataset.from_arrays(x, y, x_test, y_test)
    tall = Dataset.from_arrays(x.reshape(-1, 1, 6, 4), y, x_test.reshape(-1, 1, 6, 4), y_test)
    assert wide.digest() != tall.digest()


def test_given_splits_stay_as_they_are():
    x = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2)
    parts = [Split(x[i : i + 2], torch.tensor([0, 1])) for i in (0, 2, 4)]
    data = Dataset.from_splits("mine", *parts, class_names=["a", "b"], ordinal=True)
    assert (data.name, data.class_names) == ("mine", ["a", "b"])
    assert (data.test_size, data.ordinal) == (2, True)
    assert data.head(2).ordinal
    for split, part in zip((data.train, data.val, data.open_test()), parts, strict=True):
        assert split.inputs.data_ptr() == part.inputs.data_ptr()


def test_given_splits_are_checked():
    good, empty = (
        Split(torch.zeros(2, 3), torch.tensor([0, 1])),
        Split(torch.zeros(0, 3), torch.zeros(0).long()),
    )
    with pytest.raises(DataError, match="mine, validation split is empty"):
        Dataset.from_splits("mine", good, empty, good, class_names=["a", "b"])
    with pytest.raises(
        DataError, match=r"training inputs are \[3\] torch.float32, but test inputs are \[4\]"
    ):
        Dataset.from_splits(
            "mine", good, good, Split(torch.zeros(2, 4), good.labels), class_names=["a", "b"]
        )
    with pytest.raises(DataError, match="labels range from 0 to 1, but 1 classes"):
        Dataset.from_splits("mine", good, good, good, class_names=["a"])
    same = Split(good.inputs, torch.zeros(2).long())
    with pytest.raises(DataError, match="has a single class; expected at least two"):
        Dataset.from_splits("mine", same, same, same, class_names=["a"])


def test_statistics_of_many_images_are_summed_in_parts(monkeypatch):
    x = torch.randint(0, 256, (7, 3, 4, 5), dtype=torch.uint8)
    data = Dataset.from_arrays(x, torch.arange(7) % 2, x, torch.arange(7) % 2)
    whole = data.statistics
    monkeypatch.setattr("limbeck.data.split.PART_BYTES", 100)
    del data.statistics
    assert data.statistics == whole


def test_ids_are_row_numbers_of_the_users_array():
    x, y = np.random.default_rng(0).random((12, 2)), np.arange(12) % 2
    data = Dataset.from_arrays(x[:9], y[:9], x[9:], y[9:], val=3)
    for split in (data.train, data.val):
        rows = split.sample_ids
        assert rows.dtype == np.int64
        assert torch.equal(split.inputs, torch.from_numpy(x[rows]).float())
    assert data.test_ids.tolist() == [0, 1, 2]
    assert data.head(2).train.sample_ids.tolist() == data.train.sample_ids[:2].tolist()


def test_names_of_samples_follow_them_and_are_no_part_of_the_digest():
    x, y = np.random.default_rng(0).random((12, 2)), np.arange(12) % 2
    arrays = x[:9], y[:9], x[9:], y[9:]
    names = [f"{number}.png" for number in range(9)]
    data = Dataset.from_arrays(*arrays, val=3, ids=names, test_ids=range(3))
    plain = Dataset.from_arrays(*arrays, val=3)
    assert data.digest() == plain.digest()
    for split, other in ((data.train, plain.train), (data.val, plain.val)):
        assert split.sample_ids.tolist() == [names[row] for row in other.sample_ids]
    assert data.test_ids.tolist() == ["0", "1", "2"]
    assert data.train.to(torch.device("cpu")).ids is data.train.ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a"] * 9, "1 ids are given more than once: a"), (["a"], "has 1 ids"), ("a", "a list of")],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    x, y = np.random.default_rng(0).random((12, 2)), np.arange(12) % 2
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(x[:9], y[:9], x[9:], y[9:], val=3, ids=ids)
