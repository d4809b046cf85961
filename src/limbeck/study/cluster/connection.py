"""The connection to a Ray cluster."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from limbeck._base.errors import ConfigError, LimbeckWarning, ResourceError, first_line
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck.study.cluster.file_tensors import MappedTensor, UnreadableSamplesError
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import SharedTensor

MIN_SLOTS = 2
START_ATTEMPTS = 3
"""Number of times that a cluster is started: Ray gives up after 30 s on a busy machine."""
CONNECTION_SECONDS = 5.0
"""Number of seconds to wait for the first machine of a cluster."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a future default, of which Ray warns
}
"""Environment variables of Ray, unless the user has set them."""


@dataclass
class Cluster:
    """A cluster to which this process is connected.

    Attributes:
        launcher: Settings of the cluster.
        workers: Number of trainings, or of other workers, that can run at the same time.
        reads_files: Whether workers read samples on the disk themselves.
    """

    launcher: Launcher
    workers: int
    reads_files: bool = True
    _shared: WeakKeyDictionary[Tensor, Any] = field(default_factory=WeakKeyDictionary)

    @property
    def slots(self) -> int:
        """Number of trainings to hold ready: those that can run, and one more."""
        return max(MIN_SLOTS, self.workers + 1)

    def share(self, tensor: Tensor) -> Any:
        """Return the reference of a tensor in shared memory, where it is put once.

        A tensor that stays on the disk is not put there: workers map its file.
        """
        import ray

        for other, reference in self._shared.items():  # tensors are compared by identity
            if other is tensor:
                return reference
        on_disk = MappedTensor.of(tensor) if self.reads_files else None
        reference = ray.put(SharedTensor.of(tensor) if on_disk is None else on_disk)
        self._shared[tensor] = reference
        return reference

    def send_samples(self, error: UnreadableSamplesError) -> None:
        """Send samples on the disk to the workers, too, because one of them cannot read them.

        Warns:
            LimbeckWarning: At the first time.
        """
        if not self.reads_files:
            return
        self.reads_files = False
        references: WeakKeyDictionary[Tensor, Any] = WeakKeyDictionary()
        for tensor, reference in self._shared.items():
            if not MAPPED_FILES.holds(tensor.data_ptr()):
                references[tensor] = reference
        self._shared = references
        warnings.warn(
            f"{error} This machine sends the samples to the workers. Set LIMBECK_CACHE, and "
            "LIMBECK_STORE for stored answers, to folders that all machines share, and the "
            "workers read them themselves.",
            LimbeckWarning,
            stacklevel=4,
        )

    def start_actor(self, kind: type, *arguments: Any) -> Any:
        """Start an actor on the machine of this process, and return its handle."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        return ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote(*arguments)


@contextmanager
def connect(launcher: Launcher) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine for the block.

    Args:
        launcher: Settings of the cluster.

    Raises:
        ConfigError: If Ray is not installed, or no machine has the cores and GPUs of a training.
        ResourceError: If the cluster cannot be reached.
    """
    if find_spec("ray") is None:
        raise ConfigError("launcher=ray needs Ray. Install it: pip install 'limbeck[ray]'.")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        _start(launcher)
    try:
        yield Cluster(launcher, _count_workers(launcher))
    finally:
        if is_ours:
            ray.shutdown()


def _start(launcher: Launcher) -> None:
    """Connect to a running cluster, or start one on this machine.

    Raises:
        ConfigError: If the address is none.
        ResourceError: If the cluster cannot be reached or started.
    """
    import ray

    _check_reachable(launcher)
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if launcher.address is not None:
        try:
            ray.init(address=launcher.address, **settings)
        except Exception as error:  # Ray raises the base class, too
            raise _unreachable(launcher, first_line(error)) from None
        return
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(address="local", include_dashboard=False, **settings)
        except Exception as error:
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise ResourceError(
                    f"Ray cannot be started on this machine: {first_line(error)} Try again when "
                    "it is less busy, or use launcher=local."
                ) from None
        else:
            return


def _check_reachable(launcher: Launcher) -> None:
    """Check that the address answers: Ray itself would try for minutes.

    Raises:
        ConfigError: If the address is none.
        ResourceError: If it does not answer.
    """
    address = launcher.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"launcher.address={address} should be auto or HOST:PORT, as in 10.0.0.1:6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECTION_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(launcher, str(error)) from None


def _unreachable(launcher: Launcher, reason: str) -> ResourceError:
    return ResourceError(
        f"launcher.address={launcher.address}: the Ray cluster cannot be reached: "
        f"{reason.rstrip('.')}. Start it with 'ray start --head', check the address with 'ray "
        "status', or leave out launcher.address to use this machine alone."
    )


def _count_workers(launcher: Launcher) -> int:
    """Return the number of trainings that can run at the same time.

    Raises:
        ConfigError: If no machine has the cores and GPUs of a training.
    """
    import ray

    amounts = {"CPU": launcher.cpus, "GPU": launcher.gpus}
    most = dict.fromkeys(amounts, 0.0)
    running = 0
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        counts = []
        for name, amount in amounts.items():
            available = resources.get(name, 0.0)
            most[name] = max(most[name], available)
            if amount:
                counts.append(int(available / amount))
        running += min(counts)
    if not running:
        raise ConfigError(
            f"launcher.cpus={launcher.cpus:g} launcher.gpus={launcher.gpus:g}: no machine of the "
            f"cluster has as many; the largest have {most['CPU']:g} cores and {most['GPU']:g} GPUs."
        )
    return running
