"""Loggers of the user's choice, and the gathering of all CSV logs into ``metrics.csv``."""

import csv
import netrc
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from lightning_fabric.utilities import rank_zero_only

from limbeck._base.errors import ConfigError, LimbeckWarning, ResourceError
from limbeck._base.reading import open_text
from limbeck._base.signals import received_signal
from limbeck.training.services.mlflow import MLflowStudy
from limbeck.training.services.tensorboard import TensorBoardStudy
from limbeck.training.services.trackio import TrackioStudy
from limbeck.training.services.wandb import WandbStudy

CLOSING_SECONDS = 1.5
"""Number of seconds in which all loggers close after an interrupt."""
WANDB_MODES = ("auto", "online", "offline", "off")


def tensorboard_logger(save_dir: str | Path, **options: Any) -> TensorBoardStudy:
    """Create a TensorBoard logger.

    Args:
        save_dir: Folder of the logs.
        options: Further arguments of Fabric's ``TensorBoardLogger``, such as ``name``.
    """
    return TensorBoardStudy(save_dir, **options)


def wandb_logger(
    save_dir: str | Path, *, project: str = "limbeck", mode: str = "auto", **options: Any
) -> WandbStudy | None:
    """Create a logger for Weights & Biases.

    Args:
        save_dir: Parent folder of the folder ``wandb``.
        project: Name of the W&B project.
        mode: ``auto`` (online if there is a key and the server answers, offline otherwise),
            ``online``, ``offline`` or ``off``.
        options: Further arguments of ``wandb.init``, such as ``name``, ``entity`` or ``tags``.

    Returns:
        The logger; None for mode ``off``.

    Raises:
        ConfigError: If wandb is not installed, the mode is unknown, or it is ``online`` and there
            is no key.
        ResourceError: If the mode is ``online`` and the server does not respond or rejects the run.
    """
    if mode not in WANDB_MODES:
        raise ConfigError(
            f"logger.wandb.mode={mode!r} is unknown; choose one of {', '.join(WANDB_MODES)}."
        )
    if mode == "off":
        return None
    _require("wandb")
    if mode == "online":
        _check_online()
    chosen_mode = _detect_mode() if mode == "auto" else mode
    logger = WandbStudy(save_dir, project=project, mode=chosen_mode, **options)
    if mode == "online" and getattr(rank_zero_only, "rank", 0) == 0:
        _start_online(logger)
    return logger


def mlflow_logger(save_dir: str | Path, **options: Any) -> MLflowStudy:
    """Create a logger for MLflow.

    Args:
        save_dir: Folder of the logs. The runs are in a database in its folder ``mlflow``, unless
            ``tracking_uri`` or the variable ``MLFLOW_TRACKING_URI`` names another place.
        options: Further arguments of
            :class:`~limbeck.training.services.mlflow.MLflowStudy`, such as ``experiment``.

    Raises:
        ConfigError: If mlflow is not installed.
    """
    _require("mlflow")
    uri = options.pop("tracking_uri", None) or os.environ.get("MLFLOW_TRACKING_URI") or None
    return MLflowStudy(save_dir, tracking_uri=uri, **options)


def trackio_logger(save_dir: str | Path, **options: Any) -> TrackioStudy:
    """Create a logger for trackio.

    Args:
        save_dir: Folder of the logs. The runs are in a database in its folder ``trackio``, unless
            the variable ``TRACKIO_DIR`` names another folder.
        options: Further arguments of
            :class:`~limbeck.training.services.trackio.TrackioStudy`, such as ``project``.

    Raises:
        ConfigError: If trackio is not installed.
    """
    _require("trackio")
    return TrackioStudy(save_dir, **options)


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise ConfigError(
            f"logger={package} needs the package {package}: pip install 'limbeck[{package}]'."
        )


def _start_online(logger: WandbStudy) -> None:
    from wandb.errors import Error

    try:
        logger.start()
    except Error as error:
        reason = " ".join(str(error).split())[:300]
        raise ResourceError(
            f"W&B rejected the run: {reason} Use logger.wandb.mode=offline to keep the run on this "
            "machine."
        ) from None


def _detect_mode() -> str:
    """Return ``online`` if there is a key and the server responds; warn if it does not respond."""
    if not _has_wandb_key() or os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return "offline"
    if _is_reachable(_wandb_server()):
        return "online"
    warnings.warn(
        f"W&B at {_wandb_server()} does not answer: the run is logged offline.",
        LimbeckWarning,
        stacklevel=2,
    )
    return "offline"


def _check_online() -> None:
    if not _has_wandb_key():
        raise ConfigError(
            "logger.wandb.mode=online needs a key: run 'wandb login' or set WANDB_API_KEY. The "
            "mode auto needs none."
        )
    if not _is_reachable(_wandb_server()):
        raise ResourceError(
            f"W&B at {_wandb_server()} does not answer. Check the network, or use "
            "logger.wandb.mode=offline to keep the run on this machine."
        )


def _wandb_server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _is_reachable(server: str) -> bool:
    """Whether the server accepts a connection; assumed to be true behind a proxy."""
    if getproxies():
        return True
    try:
        parts = urlsplit(server)
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), timeout=5.0).close()
    except (OSError, ValueError):
        return False
    return True


def _has_wandb_key() -> bool:
    """Whether there is an API key in the environment or in the file of ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(_wandb_server()).hostname
    try:
        return server in netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def close_loggers(functions: Sequence[Callable[[str], None]], status: str) -> None:
    """Close loggers. After an interrupt, leave those behind that do not close soon.

    Args:
        functions: Function of each logger that closes it, such as ``finalize`` of Lightning's.
        status: ``success`` or ``failed``.
    """
    if received_signal() is None:
        for close in functions:
            close(status)
        return
    deadline = time.monotonic() + CLOSING_SECONDS
    threads = [Thread(target=close, args=(status,), daemon=True) for close in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def gather_scalars(logs: Path) -> list[dict[str, Any]]:
    """Gather the scalars of all stages as rows of ``metrics.csv``.

    If an epoch was trained twice, the later values are used. The rest of a damaged log is left out
    with a warning.

    Args:
        logs: Folder of all logs of :class:`~limbeck.training.csv_logger.CSVLogger`.
    """
    scalars: dict[tuple[str, str, int, int, str], float] = {}
    files = [file for file in logs.glob("*/version_*/metrics.csv") if _version(file) is not None]
    for file in sorted(files, key=lambda file: (file.parts[-3], _version(file))):
        try:
            for arm, seed, metric, epoch, value in _scalars(file):
                stage = "teacher" if arm == "teacher" else "students"
                scalars[stage, arm, seed, epoch, metric] = value
        except (OSError, ValueError, csv.Error) as error:
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"{file} is damaged: {reason}.", LimbeckWarning, stacklevel=2)
    keys = ("stage", "arm", "seed", "epoch", "metric")
    return [{**dict(zip(keys, key, strict=True)), "value": value} for key, value in scalars.items()]


def warn_of_missing_epochs(
    rows: Iterable[Mapping[str, Any]], epochs: Mapping[tuple[str, int], int], logs: Path
) -> None:
    """Warn if logs that were cut short make ``metrics.csv`` shorter than the training.

    Args:
        rows: Rows of :func:`gather_scalars`.
        epochs: Number of training epochs of each trained model, by arm and seed.
        logs: Folder of the logs.
    """
    present: dict[tuple[str, int], set[int]] = {student: set() for student in epochs}
    for row in rows:
        if row["metric"] == "train_loss":
            present.get((row["arm"], row["seed"]), set()).add(row["epoch"])
    lacking = []
    for (arm, seed), count in epochs.items():
        number = count - len(present[arm, seed])
        if number > 0:
            lacking.append(f"{arm}/seed{seed} ({number} of {count})")
    if lacking:
        names = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" * (len(lacking) > 3))
        warnings.warn(
            f"metrics.csv lacks epochs of {names}: files in {logs} are missing or were cut short. "
            "The results are complete.",
            LimbeckWarning,
            stacklevel=2,
        )


def _version(file: Path) -> int | None:
    """Number of a log's folder; None if it is not one of limbeck's logger."""
    text = file.parent.name.removeprefix("version_")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _scalars(file: Path) -> Iterator[tuple[str, int, str, int, float]]:
    """Yield arm, seed, metric, epoch and value of each scalar in a log."""
    with open_text(file) as lines:
        # Half a last line, of a killed run, may look like another number.
        complete = (line for line in lines if line.endswith(("\n", "\r")))
        for row in csv.DictReader(complete):
            if not row.get("epoch"):
                continue
            epoch = int(row["epoch"])
            for name, value in row.items():
                if isinstance(name, str) and name.count("/") >= 2 and value:
                    arm, seed, metric = name.rsplit("/", 2)
                    yield arm, int(seed.removeprefix("seed")), metric, epoch, float(value)
