"""Start of the processes that train together."""

import atexit
import os
import time

from lightning_fabric import Fabric
from torch import distributed

from limbeck._base.errors import ConfigError, ResourceError
from limbeck._base.peers import set_rank, start_children, watch_parent

SECONDS_TO_FREE = 0.3
"""Time in which the threads of a group free their tensors, which takes milliseconds."""


def launch(fabric: Fabric) -> None:
    """Start the other processes of a training, unless they are running already.

    Raises:
        ConfigError: If the strategy would fork this process.
        ResourceError: If the processes cannot connect.
    """
    _start(fabric)
    watch_parent()
    try:
        fabric.launch()
    except TypeError:
        raise ConfigError(
            f"trainer: the strategy forks this process for {fabric.world_size} devices, but each "
            "process has to run the whole command. Use trainer.strategy=ddp in a script, or "
            "trainer.devices=1 in a notebook."
        ) from None
    except distributed.DistError as error:
        raise _connection_error(error) from None
    set_rank(fabric.global_rank)
    atexit.unregister(_leave)  # a second training needs no second call
    atexit.register(_leave)


def _leave() -> None:
    """Leave the group of processes, and wait for the threads that exchange gradients.

    PyTorch does not do so at exit, and such a thread aborts the process if the interpreter ends
    before it has freed its last tensor. ``fully_shard`` holds groups, whose threads then go on
    until the very end: they are given time to free theirs.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(SECONDS_TO_FREE)


def _start(fabric: Fabric) -> None:
    """Start the other processes of this machine, unless torchrun, SLURM or limbeck has.

    Lightning's launcher could do so, but it ends all of them without a message when one is lost.
    """
    launcher = fabric.strategy.launcher
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if launcher is None or environment is None or launcher.is_interactive_compatible:
        return
    if not environment.creates_processes_externally:
        variables = {
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
            "NODE_RANK": str(environment.node_rank()),
            "WORLD_SIZE": str(fabric.world_size),
        }
        start_children(getattr(fabric.strategy, "num_processes", 1), variables)


def _connection_error(error: Exception) -> ResourceError:
    """Return the error of processes that cannot connect."""
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    reason = " ".join(str(error).split())
    if "EADDRINUSE" in reason or "address already in use" in reason.lower():
        return ResourceError(
            f"Port {port} (MASTER_PORT), to which the processes of the training should connect, is "
            "in use by another program. To choose another port, unset MASTER_PORT, or set "
            "--master-port of torchrun."
        )
    return ResourceError(
        f"The processes of the training cannot connect to {address}:{port} (MASTER_ADDR, "
        f"MASTER_PORT): {reason[:300]}. Check that all machines can reach this address and run "
        "the same command."
    )
