"""Devices, precision and processes; what importing the training costs."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.training.fabric import make_fabric, reproducible, sync_batchnorm
from limbeck.training.machine import translate_errors
from limbeck.training.options import TrainerOptions


@pytest.mark.slow
@pytest.mark.parametrize("module", ["training.fit", "study.cluster.worker"])
def test_training_imports_neither_the_trainer_nor_torchvision(module):
    script = (
        f"import sys, limbeck.{module}\n"
        "heavy = ('lightning', 'torchmetrics', 'torchvision', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_mixed_precision_leaves_inputs_and_losses_as_they_are():
    fabric = make_fabric({"accelerator": "cpu", "precision": "bf16-mixed"})
    precision = fabric.strategy.precision
    assert precision.precision == "bf16-mixed"
    weight = torch.rand(5)
    assert precision.convert_input(weight) is precision.convert_output(weight) is weight
    with fabric.autocast():
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.bfloat16


def test_batchnorm_is_synchronised_for_the_length_of_a_training():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    norm = model[1]
    fabric = make_fabric({"accelerator": "cpu"})
    with sync_batchnorm(model, fabric, None):
        assert model[1] is norm
    with sync_batchnorm(model, fabric, True):
        assert isinstance(model[1], nn.SyncBatchNorm)
        model[1].running_mean = torch.ones(3)
    assert model[1] is norm
    assert norm.running_mean.tolist() == [1, 1, 1]


def test_determinism_is_asked_for_and_given_back():
    with reproducible(TrainerOptions(deterministic=True)):
        assert torch.are_deterministic_algorithms_enabled()
    with reproducible(TrainerOptions(deterministic="warn")):
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), ResourceError, "of the device ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ResourceError, "Lower batch"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), ResourceError, "Lower batch"),
        (RuntimeError("MPS backend out of memory"), ResourceError, "Lower batch"),
        (MemoryError(), ResourceError, "Lower batch"),
        (RuntimeError("shapes differ"), RuntimeError, "shapes differ"),
    ],
)
def test_memory_that_runs_out_is_a_resource_error(error, kind, message):
    with pytest.raises(kind, match=message), translate_errors():
        raise error


def test_a_failed_compilation_names_the_option():
    error = type("CompileError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    expected = r"trainer\.compile=True: .*needs a C\+\+ compiler"
    with pytest.raises(ConfigError, match=expected), translate_errors(True):
        raise error("no compiler")
