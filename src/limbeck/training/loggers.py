"""Where logged scalars go: Lightning's CSV logger per stage, gathered into ``metrics.csv``; W&B if
wanted.
"""

import csv
import netrc
import os
import socket
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from limbeck._base.errors import ConfigError, LimbeckWarning, ResourceError

WANDB_MODES = ("auto", "online", "offline", "off")


def csv_logger(logs: Path, stage: str) -> CSVLogger:
    """A CSV logger for one stage; a resumed stage gets a further version beside the first."""
    return CSVLogger(logs, name=stage, flush_logs_every_n_steps=1)


def wandb_logger(
    save_dir: str | Path, *, project: str = "limbeck", mode: str = "auto", **options: Any
) -> Logger:
    """Weights & Biases: online if a key is at hand and the server answers, offline otherwise.

    Args:
        save_dir: its folder ``wandb`` is made there.
        project: of W&B.
        mode: ``auto``, ``online``, ``offline`` or ``off``.
        options: further arguments of Lightning's ``WandbLogger``.

    Raises:
        ConfigError: wandb is not installed, the mode is unknown, or it is ``online`` and there is
            no key.
        ResourceError: the mode is ``online`` and the server does not answer, or refuses.
    """
    if mode not in WANDB_MODES:
        raise ConfigError(
            f"logger.wandb.mode={mode!r} is unknown; choose one of {', '.join(WANDB_MODES)}."
        )
    if mode == "off":
        return DummyLogger()
    if find_spec("wandb") is None:
        raise ConfigError("logger=wandb needs the package wandb: pip install 'limbeck[wandb]'.")
    if mode == "auto":
        mode = _possible_mode()
    elif mode == "online":
        _check_online()
    logger = WandbLogger(
        save_dir=str(save_dir), project=project, offline=mode == "offline", **options
    )
    from wandb.errors import Error

    try:
        logger.experiment  # begins the run now, where a refusal can still be told  # noqa: B018
    except Error as error:
        raise ResourceError(
            f"W&B refuses: {' '.join(str(error).split())[:300]} logger.wandb.mode=offline keeps "
            "the run here."
        ) from None
    return logger


def _possible_mode() -> str:
    """``online`` if that can be; the user is told where only the network is missing."""
    if not _has_wandb_key() or os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return "offline"
    if _answers(_wandb_server()):
        return "online"
    warnings.warn(
        f"W&B at {_wandb_server()} does not answer: the run is kept offline.",
        LimbeckWarning,
        stacklevel=2,
    )
    return "offline"


def _check_online() -> None:
    if not _has_wandb_key():
        raise ConfigError(
            "logger.wandb.mode=online needs a key: 'wandb login', or WANDB_API_KEY. auto does "
            "without."
        )
    if not _answers(_wandb_server()):
        raise ResourceError(
            f"W&B at {_wandb_server()} does not answer. Check the network, or keep the run here "
            "with "
            "logger.wandb.mode=offline."
        )


def _wandb_server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _answers(server: str) -> bool:
    """Whether a connection can be made; behind a proxy that is left to W&B to find out."""
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
    """Whether W&B would find a key: in the environment, or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(_wandb_server()).hostname
    try:
        return server in netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def gather_scalars(logs: Path) -> list[dict[str, Any]]:
    """The scalars of all stages as rows of ``metrics.csv``; of an epoch trained twice the later
    training counts.

    Args:
        logs: the folder that :func:`csv_logger` was given.
    """
    found: dict[tuple[str, str, int, int, str], float] = {}
    for file in sorted(
        logs.glob("*/version_*/metrics.csv"), key=lambda f: (f.parts[-3], _version(f))
    ):
        for name, epoch, value in _scalars(file):
            arm, seed, metric = name.rsplit("/", 2)
            stage = "teacher" if arm == "teacher" else "students"
            found[stage, arm, int(seed.removeprefix("seed")), epoch, metric] = value
    keys = ("stage", "arm", "seed", "epoch", "metric")
    return [{**dict(zip(keys, key, strict=True)), "value": value} for key, value in found.items()]


def _version(file: Path) -> int:
    return int(file.parent.name.removeprefix("version_"))


def _scalars(file: Path) -> Iterator[tuple[str, int, float]]:
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if not row.get("epoch"):
                continue  # the last line of a run that was killed while it wrote
            for name, value in row.items():
                if name.count("/") >= 2 and value:
                    yield name, int(row["epoch"]), float(value)
