"""Lightning Fabric: devices, processes and precision of a training."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.distributed import is_torchelastic_launched
from torch.utils.data import DataLoader

from limbeck._base.errors import ConfigError
from limbeck.training.options import TrainerOptions
from limbeck.training.sharded_strategy import ShardedStrategy

MIN_PROCESSES = 2
"""Number of processes that are allowed on any machine, to try out a distributed training."""


class Autocast(MixedPrecision):
    """Automatic mixed precision that does not convert inputs and losses.

    Inputs, counts and mixing weights stay in float32; only operations of the model are autocast.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data


def make_fabric(
    options: TrainerOptions | Mapping[str, Any] | None = None, *, loggers: Iterable[Any] = ()
) -> Fabric:
    """Create a Fabric with the devices, strategy and precision of the options.

    Raises:
        ConfigError: If the options do not fit this machine.
    """
    options = TrainerOptions.of(options)
    settings: dict[str, Any] = {
        "accelerator": options.accelerator,
        "devices": options.devices,
        "num_nodes": options.num_nodes,
        "strategy": "ddp" if options.is_sharded else options.strategy,
        "loggers": list(loggers),
    }
    try:
        fabric = Fabric(**settings, precision=options.precision)  # type: ignore[arg-type]
        precision = fabric.strategy.precision
        if isinstance(precision, MixedPrecision):
            precision = Autocast(precision.precision, fabric.device.type)  # type: ignore[arg-type]
        if options.is_sharded:
            settings["strategy"] = ShardedStrategy(fabric.world_size)
        if options.is_sharded or isinstance(precision, Autocast):
            fabric = Fabric(**settings, plugins=precision)
    except (
        ValueError,
        TypeError,
        RuntimeError,
        ImportError,
        MisconfigurationException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"trainer: Lightning refuses these options on this machine: {reason}"
        ) from None
    _check_precision(options, fabric)
    _check_processes(options, fabric)
    return fabric


def _check_precision(options: TrainerOptions, fabric: Fabric) -> None:
    """Refuse float16 on a CPU, which Lightning would replace by bfloat16."""
    if fabric.device.type == "cpu" and str(options.precision) in ("16", "16-mixed"):
        raise ConfigError(
            f"trainer.precision={options.precision} needs a GPU. Use bf16-mixed or 32-true on a "
            "CPU."
        )
    if options.is_sharded and getattr(fabric.strategy.precision, "scaler", None) is not None:
        raise ConfigError(
            f"trainer.precision={options.precision} has a loss scale, which trainer.strategy=fsdp "
            "does not support. Use bf16-mixed."
        )


def _check_processes(options: TrainerOptions, fabric: Fabric) -> None:
    """Refuse more processes than cores, and machines that no launcher has connected."""
    processes, cores = getattr(fabric.strategy, "num_processes", 1), os.cpu_count() or 1
    if is_torchelastic_launched():
        _check_torchrun(options, processes)
        return
    if fabric.device.type == "cpu" and processes > max(cores, MIN_PROCESSES):
        raise ConfigError(
            f"trainer.devices={options.devices} would start {processes} processes, but this "
            f"machine has {cores} CPU cores. Use at most one process per core."
        )
    environment = getattr(fabric.strategy, "cluster_environment", None)
    is_connected = "MASTER_ADDR" in os.environ or not isinstance(environment, LightningEnvironment)
    if options.num_nodes > 1 and not is_connected:
        raise ConfigError(
            f"trainer.num_nodes={options.num_nodes}, but this process was not started by torchrun "
            "or SLURM, so it would wait for the other machines forever. Start the command on every "
            f"machine, for example with: torchrun --nnodes={options.num_nodes} --nproc-per-node=N "
            "--rdzv-backend=c10d --rdzv-endpoint=HOST:PORT -m limbeck ..."
        )


def _check_torchrun(options: TrainerOptions, processes: int) -> None:
    """Check that torchrun has started as many processes as the options say.

    Args:
        options: Options of the group ``trainer``.
        processes: Number of processes per machine by the options.
    """
    per_node, total = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if processes == per_node and processes * options.num_nodes == total:
        return
    nodes = total // per_node
    raise ConfigError(
        f"torchrun has started {total} processes (WORLD_SIZE), {per_node} of them on this machine, "
        f"but trainer.devices={options.devices} and trainer.num_nodes={options.num_nodes} ask for "
        f"{processes * options.num_nodes}. Use trainer.devices={per_node} "
        f"trainer.num_nodes={nodes}, or change --nproc-per-node and --nnodes."
    )


def process_of(options: Mapping[str, Any] | None = None) -> tuple[int, int]:
    """Rank of this process and number of processes; 0 and 1 for a single process.

    Raises:
        ConfigError: If an option is unknown or does not fit this machine.
    """
    fabric = make_fabric(options)
    return fabric.global_rank, fabric.world_size


def share_loader(loader: Any, fabric: Fabric) -> Any:
    """Split a DataLoader over the processes; any other loader is returned unchanged."""
    if fabric.world_size > 1 and isinstance(loader, DataLoader):
        return fabric.setup_dataloaders(loader)
    return loader


def can_fuse(fabric: Fabric) -> bool:
    """Whether optimizers may be fused; with a loss scale, they would unscale after clipping."""
    return getattr(fabric.strategy.precision, "scaler", None) is None


def check_loss_scale(students: int, precision: object) -> None:
    """Check that students do not share a loss scale.

    Float16 needs a loss scale, and a step is left out when any gradient is not finite. So one
    diverged student would stop all others of its cohort.

    Args:
        students: Number of students that are trained together.
        precision: Precision of Fabric or of a Trainer.

    Raises:
        ConfigError: If several students would share a loss scale.
    """
    if students > 1 and getattr(precision, "scaler", None) is not None:
        raise ConfigError(
            "precision=16-mixed has one loss scale, so a student that diverges would stop all "
            "students of its cohort. Use bf16-mixed, or train each student as a cohort of one."
        )


@contextmanager
def sync_batchnorm(module: nn.Module, fabric: Fabric, enabled: bool | None) -> Iterator[None]:
    """Synchronise the statistics of BatchNorm over all processes during training.

    Args:
        module: Students.
        fabric: Fabric of the training.
        enabled: Whether to synchronise; None to synchronise on several GPUs only.
    """
    if enabled is None:
        enabled = fabric.world_size > 1 and fabric.device.type == "cuda"
    if not enabled:
        yield
        return
    original = [(parent, dict(parent.named_children())) for parent in module.modules()]
    nn.SyncBatchNorm.convert_sync_batchnorm(module)
    try:
        yield
    finally:
        for parent, children in original:
            for name, child in children.items():
                synced = getattr(parent, name)
                if synced is not child:
                    child.load_state_dict(synced.state_dict())
                    setattr(parent, name, child)


@contextmanager
def reproducible(options: TrainerOptions) -> Iterator[None]:
    """Set ``deterministic`` and ``benchmark`` during training."""
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=options.deterministic == "warn")
    if options.benchmark:
        torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's start-up messages and its hints about loaders."""
    names = ("lightning", "lightning.fabric", "lightning.pytorch", "lightning_fabric")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(_fabric)?\..*")
            warnings.filterwarnings("ignore", message=r".*(LeafSpec|lr_scheduler\.step).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
