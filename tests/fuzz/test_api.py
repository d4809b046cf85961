"""Odd arguments of the public functions."""

import numpy as np
import torch
from hypothesis import strategies as st
from support.fuzz import attempt_call, examples, fuzz
from support.fuzz_values import json_values, scalars

import limbeck
from limbeck.data import Dataset
from limbeck.losses import Feature
from limbeck.models import MLP

values = json_values | st.sampled_from([0.5, 2.0, 1, "kl", "adam", "balanced", [1.0, 2.0, 3.0]])


def settings_of(kind, names):
    """Some arguments of a class, of any type."""
    keywords = st.dictionaries(st.sampled_from(names), values, max_size=2)
    return st.tuples(st.just(kind), keywords)


OBJECTS = st.one_of(
    settings_of(
        limbeck.Objective,
        [
            "hard_weight",
            "soft_weight",
            "temperature",
            "soft",
            "scale_by_t2",
            "standardise",
            "shuffled",
            "target_weight",
            "teacher_share",
            "hard",
            "class_weights",
            "label_smoothing",
            "features",
        ],
    ),
    settings_of(Feature, ["kind", "student", "teacher", "weight"]),
    settings_of(
        limbeck.Optimizer,
        ["name", "lr", "weight_decay", "momentum", "schedule", "averaging", "ema_decay"],
    ),
    settings_of(limbeck.Schedule, ["epochs", "batch_size", "optimizer"]),
    settings_of(limbeck.StoreSettings, ["kind", "dtype", "k", "samples", "folder"]),
    settings_of(limbeck.RunOptions, ["out", "resume", "overwrite", "quick", "loggers", "trainer"]),
    settings_of(limbeck.data.Shift, ["pixels"]),
    settings_of(limbeck.data.Crop, ["padding", "pad", "size"]),
    settings_of(limbeck.data.Affine, ["degrees", "scale", "shear", "translate", "views"]),
    settings_of(limbeck.data.Elastic, ["sigma", "alpha", "views"]),
    settings_of(limbeck.data.Mixup, ["alpha", "views"]),
    settings_of(limbeck.data.TransferSet, ["samples", "labelled", "seed", "without", "classes"]),
    settings_of(limbeck.data.UniformNoise, ["samples", "seed"]),
)


@examples(0.03)
def test_settings_are_accepted_or_refused(count):
    def check(folder, setting):
        kind, keywords = setting
        attempt_call(folder, lambda: build(kind, keywords), str(keywords))

    fuzz(count, check, OBJECTS)


def build(kind, keywords):
    """An object from keywords; a missing or unknown one is an error of Python."""
    try:
        return kind(**keywords)
    except TypeError as error:
        if "keyword" in str(error) or "positional" in str(error):
            return None
        raise


# Loaders ------------------------------------------------------------------------------------------

DTYPES = (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex64)
shapes = st.sampled_from([(4, 3), (4, 3), (4, 3), (4, 2), (4,), (0, 3), (1, 3), (4, 3, 2), ()])
tensors = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    shapes,
    st.sampled_from((torch.float32,) * 6 + DTYPES),
    st.sampled_from([0.0, 1.0, 1.0, 2.0, -1.0, 1e38, float("nan"), float("inf"), -100.0]),
)
labels = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.sampled_from([(4,), (4,), (4,), (3,), (4, 1), (0,), (4, 3), ()]),
    st.sampled_from((torch.int64,) * 6 + DTYPES),
    st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, -100.0, 0.5, 1e10]),
)
batches = st.one_of(
    st.tuples(tensors, labels),
    st.tuples(tensors, labels),
    st.tuples(tensors, labels).map(list),
    st.tuples(tensors, labels).map(lambda pair: {"x": pair[0], "y": pair[1]}),
    tensors,
    scalars,
    st.tuples(tensors, labels, labels),
)


class Odd(torch.nn.Module):
    """A model whose output has an odd shape, type or value."""

    def __init__(self, change):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.change, self.calls = change, 0

    def forward(self, x):
        self.calls += 1
        return self.change(self.layer(x), self.calls)


CHANGES = {
    "none": lambda logits, calls: logits,
    "complex": lambda logits, calls: logits.to(torch.complex64),
    "integers": lambda logits, calls: logits.long(),
    "nan": lambda logits, calls: logits * float("nan"),
    "changing": lambda logits, calls: logits[..., : 1 + calls % 3],
    "flat": lambda logits, calls: logits.sum(-1),
    "single": lambda logits, calls: logits[..., :1],
    "tuple": lambda logits, calls: (logits, logits),
    "text": lambda logits, calls: "logits",
    "nothing": lambda logits, calls: None,
    "rows": lambda logits, calls: logits[:-1],
    "dictionary": lambda logits, calls: {"logits": logits},
    "sparse": lambda logits, calls: logits.to_sparse(),
    "half": lambda logits, calls: logits.half(),
    "detached": lambda logits, calls: logits.detach(),
}


@examples(0.04)
def test_loaders_and_models_are_accepted_or_refused(count):
    def check(folder, loader, change, teacher_change, verb):
        model, teacher = Odd(CHANGES[change]), Odd(CHANGES[teacher_change])
        quiet = {"epochs": 1, "progress": False, "lr": 0.01}

        def act():
            match verb:
                case "evaluate":
                    return limbeck.evaluate(model, loader)
                case "train":
                    return limbeck.train(model, loader, **quiet)
            return limbeck.distill(model, teacher, loader, **quiet)

        def act_with_model():
            try:
                return act()
            except RuntimeError as error:
                if "mat1 and mat2" in str(error):  # the model's own error for other inputs
                    return None
                raise

        attempt_call(folder, act_with_model)

    changes = st.sampled_from(["none"] * 10 + list(CHANGES))
    verbs = st.sampled_from(["evaluate", "evaluate", "train", "distill"])
    fuzz(count, check, st.lists(batches, max_size=3), changes, changes, verbs)


# Arrays -------------------------------------------------------------------------------------------

arrays = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 3, shape).astype(dtype),
    st.sampled_from([(12, 3), (12, 1, 4, 4), (12,), (11,), (0, 3), (12, 4, 4), (12, 2, 2, 2, 2)]),
    st.sampled_from(["float32", "float64", "uint8", "int64", "bool", "U3", "O", "M8[s]", "c8"]),
    st.integers(0, 3),
)
names = st.none() | st.lists(st.sampled_from(["a", "b", "c", "", "a"]), max_size=4) | json_values


@examples(0.03)
def test_arrays_are_accepted_or_refused(count):
    def check(folder, x, y, x_test, y_test, class_names, val):
        def act():
            same = x if x_test is None else x_test
            test = y if y_test is None else y_test
            return Dataset.from_arrays(x, y, same, test, class_names=class_names, val=val)

        attempt_call(folder, act, str(class_names))

    images = arrays | st.builds(np.zeros, st.just((12, 3)))
    digits = st.just(np.arange(12) % 3) | arrays | json_values
    vals = st.none() | st.integers(0, 14) | scalars
    fuzz(count, check, images, digits, st.none() | images, st.none() | digits, names, vals)


@examples(0.01)
def test_models_are_built_or_refused(count):
    def check(folder, keywords):
        attempt_call(folder, lambda: build(lambda **k: MLP((3,), 3, **k), keywords), str(keywords))

    keys = ["hidden", "dropout", "input_dropout", "max_norm"]
    fuzz(count, check, st.dictionaries(st.sampled_from(keys), values, max_size=2))
