"""Where logged scalars go: Lightning's CSV logger per stage, gathered into ``metrics.csv``; W&B if wanted."""

import csv
import netrc
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from limbeck.errors import ConfigError


def csv_logger(logs: Path, stage: str) -> CSVLogger:
    """A CSV logger for one stage; a resumed stage gets a further version beside the first."""
    return CSVLogger(logs, name=stage, flush_logs_every_n_steps=1)


def wandb_logger(save_dir: str | Path, *, project: str = "limbeck", mode: str = "auto", **options: Any) -> Logger:
    """Weights & Biases: online if a key is at hand, offline otherwise.

    Args:
        save_dir: its folder ``wandb`` is made there.
        project: of W&B.
        mode: ``auto``, ``online`` or ``offline``.
        options: further arguments of Lightning's ``WandbLogger``.

    Raises:
        ConfigError: wandb is not installed, or the mode is unknown.
    """
    if find_spec("wandb") is None:
        raise ConfigError("logger=wandb needs the package wandb: pip install 'limbeck[wandb]'.")
    if mode not in ("auto", "online", "offline"):
        raise ConfigError(f"logger.wandb.mode={mode!r} is unknown; choose one of auto, online, offline.")
    if mode == "auto":
        mode = "online" if _has_wandb_key() and os.environ.get("WANDB_MODE") != "offline" else "offline"
    return WandbLogger(save_dir=str(save_dir), project=project, offline=mode == "offline", **options)


def _has_wandb_key() -> bool:
    """Whether W&B would find a key: in the environment, or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return server in netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def gather_scalars(logs: Path) -> list[dict[str, Any]]:
    """The scalars of all stages as rows of ``metrics.csv``; of an epoch trained twice the later training counts.

    Args:
        logs: the folder that :func:`csv_logger` was given.
    """
    found: dict[tuple[str, str, int, int, str], float] = {}
    for file in sorted(logs.glob("*/version_*/metrics.csv"), key=lambda f: (f.parts[-3], _version(f))):
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
