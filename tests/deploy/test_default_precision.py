"""The precision that a bundle uses by default."""

import numpy as np
import pytest
from support.clocks import Clock

from limbeck.deploy import default_precision as module
from limbeck.deploy.default_precision import default_precision

INPUTS = np.zeros((2, 3), np.float32)


@pytest.fixture
def choose(monkeypatch):
    """Chooses between models of these sizes and times of a run."""

    def choose(sizes, milliseconds):
        clock = Clock()

        class Model:
            def __init__(self, content, name, class_names):
                self.seconds = milliseconds[name] / 1000

            def logits(self, inputs):
                clock.now += self.seconds

        monkeypatch.setattr(module, "Model", Model)
        monkeypatch.setattr(module, "time", clock)
        models = {name: bytes(size) for name, size in sizes.items()}
        return default_precision(models, INPUTS, ["a", "b"])

    return choose


@pytest.mark.parametrize(
    ("int8_bytes", "int8_ms", "precision"),
    [(10, 1.0, "int8"), (10, 2.0, "int8"), (10, 2.2, "fp32"), (40, 1.0, "fp32"), (41, 1.0, "fp32")],
)
def test_8_bits_have_to_be_smaller_and_not_slower(choose, int8_bytes, int8_ms, precision):
    sizes = {"fp32": 40, "int8": int8_bytes}
    assert choose(sizes, {"fp32": 2.0, "int8": int8_ms}) == precision


def test_a_single_model_is_the_default(choose):
    assert choose({"fp32": 40}, {"fp32": 1.0}) == "fp32"
