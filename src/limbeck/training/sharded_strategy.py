"""Strategy of Lightning Fabric in which each process holds a share of every weight (FSDP2)."""

from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from limbeck.models import HasLastLayer

DATA_PARALLEL = "data_parallel"
"""Name that Lightning gives the dimension of processes with other samples."""


class ShardedStrategy(ModelParallelStrategy):
    """Strategy of Fabric in which every process holds a share of the weights.

    Args:
        processes: Number of processes of the training.
    """

    def __init__(self, processes: int):
        super().__init__(_shard_task, data_parallel_size=processes, tensor_parallel_size=1)

    @property
    def mesh(self) -> DeviceMesh:
        """The processes that share the weights."""
        return self.device_mesh[DATA_PARALLEL]


def mesh_of(fabric: Fabric) -> DeviceMesh | None:
    """Return the processes that share weights; None if each process holds all of them."""
    strategy = fabric.strategy
    return strategy.mesh if isinstance(strategy, ShardedStrategy) else None


def repeated_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of which a model has a list, such as the blocks of a transformer, by name.

    Layers that share a weight with others are left out, and so is a last layer that is used without
    being called, see :class:`~limbeck.models.HasLastLayer`.

    Args:
        model: Student or teacher, whose weights are whole.
    """
    used_once = _used_once(model)
    if isinstance(model, HasLastLayer):
        last = model.last_layer()
        used_once -= {id(part) for part in last or () if part is not None}
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{layer}.") for layer in layers) or name in layers
        if is_inside or not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        for number, layer in module.named_children():
            weights = {id(weight) for weight in layer.parameters()}
            if weights and weights <= used_once and not _is_list(layer):
                layers[f"{name}.{number}".lstrip(".")] = layer
    return layers


def _is_list(module: nn.Module) -> bool:
    """Whether a module only lists others, so that it is never called."""
    return isinstance(module, (nn.ModuleList, nn.ModuleDict))


def _used_once(model: nn.Module) -> set[int]:
    """Identity of each parameter that a single layer of a model has."""
    names: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)] = names.get(id(parameter), 0) + 1
    return {number for number, count in names.items() if count == 1}


def _shard_task(task: Any, mesh: DeviceMesh) -> nn.Module:
    """Give each process its shares of the weights of a task, in place; called by Lightning.

    Args:
        task: Task of one student, a :class:`~limbeck.training.task.DistillationTask`.
        mesh: Processes of the training.
    """
    for layer in repeated_layers(task.cohort.student).values():
        fully_shard(layer, mesh=mesh[DATA_PARALLEL])
    # PyTorch would leave the outermost weights whole after a validation, and so not see the changes
    # of an average
    fully_shard(task, mesh=mesh[DATA_PARALLEL], reshard_after_forward=True)
    register_fsdp_forward_method(task, "validate")
    task.single_samples.needs_two = False  # no BatchNorm, see check_model
    whole: nn.Module = task
    return whole
