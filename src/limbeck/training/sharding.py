"""One large student over several processes: each holds a share of every weight (FSDP2).

Shares are of the weights, their gradients and the state of the optimizer. The layers of a repeated
block are put together for the time of its computation alone. So are those of a teacher that runs in
every step.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from limbeck._base.errors import ConfigError
from limbeck.models import HasLastLayer
from limbeck.teacher.signal import LiveTeacher, TeacherSignal
from limbeck.training.options import TrainerOptions
from limbeck.training.sharded_strategy import mesh_of, repeated_layers
from limbeck.training.task import DistillationTask

# Checks -------------------------------------------------------------------------------------------


def check_model(model: nn.Module, where: str) -> None:
    """Check that a model can be trained in shares.

    Args:
        model: Student, or a teacher that is trained.
        where: Name of the model, for the message.

    Raises:
        ConfigError: If it keeps statistics of its batches, or has a parameter without dimensions.
    """
    for module in model.modules():
        if getattr(module, "track_running_stats", False):
            raise ConfigError(
                f"{where} has {type(module).__name__}, whose statistics would differ between the "
                "processes of trainer.strategy=fsdp. Use trainer.strategy=ddp, or a model with "
                "LayerNorm or GroupNorm."
            )
    for name, parameter in model.named_parameters():
        if parameter.ndim == 0:
            raise ConfigError(
                f"{where} has the parameter {name} without dimensions, of which no process can "
                "hold a share. Use trainer.strategy=ddp, or give it the shape [1]."
            )


def check_sharding(task: DistillationTask, options: TrainerOptions) -> None:
    """Check that a training can be sharded, if its strategy is ``fsdp``.

    Raises:
        ConfigError: If it cannot.
    """
    if not options.is_sharded:
        return
    if task.cohort.student is None:
        raise ConfigError(
            f"trainer.strategy=fsdp trains one student at a time, but this cohort has "
            f"{task.cohort.students}. Train each as a cohort of one, or use trainer.strategy=ddp."
        )
    if isinstance(task.optimizer, torch.optim.Optimizer):
        raise ConfigError(
            "The optimizer was created for whole weights, of which trainer.strategy=fsdp makes "
            "shares. Pass its settings, or a function: "
            "optimizer=lambda parameters: torch.optim.Adam(parameters)."
        )
    if options.compile:
        raise ConfigError(
            f"trainer.compile={options.compile} cannot be combined with trainer.strategy=fsdp. Use "
            "trainer.compile=false."
        )
    check_model(task.cohort.student, "The model")


# Shares of a student ------------------------------------------------------------------------------


class WholeStudent:
    """What makes a sharded student whole again: copies of its layers without weights.

    Create it before the student is sharded.

    Args:
        student: Student, which is sharded and made whole in place.
    """

    def __init__(self, student: nn.Module):
        self.student = student
        self.layers = {
            name: _without_weights(layer) for name, layer in repeated_layers(student).items()
        }

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights together in all processes, in main memory."""
        for name, whole in self.layers.items():
            layer = self.student.get_submodule(name)
            sharded = dict(layer.named_parameters())
            for key, parameter in whole.named_parameters():
                parameter.data = _whole(sharded[key])
            for copied, buffer in zip(whole.buffers(), layer.buffers(), strict=True):
                copied.copy_(buffer)
            whole.train(layer.training)
            parent, _, own_name = name.rpartition(".")
            setattr(self.student.get_submodule(parent), own_name, whole)
        restored: dict[nn.Parameter, nn.Parameter] = {}  # two layers may share one
        for module in self.student.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                if not isinstance(parameter, DTensor):
                    continue
                if parameter not in restored:
                    trains = parameter.requires_grad
                    restored[parameter] = nn.Parameter(_whole(parameter), requires_grad=trains)
                setattr(module, name, restored[parameter])
        self.student.cpu()  # the buffers


def _without_weights(layer: nn.Module) -> nn.Module:
    """Return a copy of a layer whose parameters take no memory."""
    copied = copy.deepcopy(layer)
    for parameter in copied.parameters():
        parameter.data = parameter.data.new_empty(0)
    return copied


def _whole(parameter: Tensor) -> Tensor:
    values = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
    return values.detach().cpu()


@contextmanager
def share_weights(task: DistillationTask, fabric: Fabric) -> Iterator[None]:
    """Let each process hold a share of the weights during a training, if the strategy does that.

    At the end each process has the whole student again.

    Args:
        task: Training of one student.
        fabric: Fabric of the training, whose processes are running.
    """
    if mesh_of(fabric) is None:
        yield
        return
    assert task.cohort.student is not None
    whole = WholeStudent(task.cohort.student)
    with sharded_teacher(task, fabric):
        yield
    whole.restore()


# Shares of a teacher ------------------------------------------------------------------------------


@contextmanager
def sharded_teacher(task: DistillationTask, fabric: Fabric) -> Iterator[None]:
    """Let each process hold a share of a teacher that runs in every step, during a training.

    The teacher itself stays as it is, in main memory. A teacher whose layers guide the student
    (``objective.features``) is not sharded.

    Args:
        task: Training with or without a teacher.
        fabric: Fabric of the training, whose processes are running.
    """
    mesh = mesh_of(fabric)
    teachers = [] if task.feature_term is not None else _live_teachers(task.signal)
    if mesh is None or not _have_all(fabric, bool(teachers)):
        yield
        return
    originals = [teacher.models for teacher in teachers]
    try:
        for teacher in teachers:
            teacher.models = [_sharded(model, mesh) for model in teacher.models]
        yield
    finally:
        for teacher, models in zip(teachers, originals, strict=True):
            teacher.models = models


def _live_teachers(signal: TeacherSignal | None) -> list[LiveTeacher]:
    parts = getattr(signal, "teachers", [signal])
    return [part for part in parts if isinstance(part, LiveTeacher)]


def _have_all(fabric: Fabric, is_live: bool) -> bool:
    """Whether the teacher runs in all processes; one may have found its answers in its store."""
    count: Any = fabric.all_reduce(torch.tensor(float(is_live)), reduce_op="sum")
    return float(count) == fabric.world_size


def _sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Return a copy of a teacher of which each process holds a share; one without weights as is."""
    parameters = list(model.parameters())
    if not parameters or any(parameter.ndim == 0 for parameter in parameters):
        return model
    sharded = copy.deepcopy(model).eval()
    for layer in repeated_layers(sharded).values():
        fully_shard(layer, mesh=mesh)
    # the last layer is used after the pass through the others, see limbeck.training.chunked_steps
    fully_shard(sharded, mesh=mesh, reshard_after_forward=False)
    assert isinstance(sharded, FSDPModule)
    if isinstance(model, HasLastLayer):
        register_fsdp_forward_method(sharded, "hidden")
    return sharded
