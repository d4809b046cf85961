"""Start of the processes that train together."""

from lightning_fabric import Fabric

from limbeck._base.errors import ConfigError


def launch(fabric: Fabric) -> None:
    """Start the other processes of a training, unless they are running already.

    Raises:
        ConfigError: If the strategy would fork this process.
    """
    try:
        fabric.launch()
    except TypeError:
        raise ConfigError(
            f"trainer: the strategy forks this process for {fabric.world_size} devices, but each "
            "process has to run the whole command. Use trainer.strategy=ddp in a script, or "
            "trainer.devices=1 in a notebook."
        ) from None
