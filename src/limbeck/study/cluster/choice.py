"""Choice of the engine that trains the models of a study."""

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.run.folder import RunFolder
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.ray_engine import RayEngine
from limbeck.study.engine import Engine
from limbeck.study.options import RunOptions


def make_engine(options: RunOptions, run: RunFolder, progress: StageProgress) -> Engine:
    """Create the engine of a study.

    Args:
        options: Options of the run.
        run: Folder for logs and checkpoints.
        progress: Progress display.

    Raises:
        ConfigError: If the options of launcher and trainer do not fit each other.
    """
    launcher = Launcher.of(options.launcher)
    if launcher.name == "local":
        return Engine(run, options.trainer, options.loggers, progress)
    for name in ("devices", "num_nodes"):
        value = options.trainer.get(name, 1)
        if value not in (1, "1", "auto"):
            raise ConfigError(
                f"trainer.{name}={value}, but launcher={launcher.name} trains each cohort on one "
                "device. Use launcher=local to train one model on several devices."
            )
    if options.trainer.get("strategy") == "fsdp":
        raise ConfigError(
            f"trainer.strategy=fsdp shares one model between processes, but launcher="
            f"{launcher.name} trains each cohort in one. Use launcher=local."
        )
    return RayEngine(run, options.trainer, options.loggers, progress, launcher)
