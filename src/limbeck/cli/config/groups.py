"""Config groups and their choices: YAML files and, for objectives, the soft losses.

Hydra and torch are imported only when settings are composed.
"""

from pathlib import Path

from limbeck.losses.soft import SOFT_LOSSES, own_settings

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {folder.name for folder in CONF.iterdir() if folder.is_dir()}


def choices(group: str, config_dir: str | Path | None = None) -> dict[str, Path]:
    """Return the YAML files of a group by name: those of limbeck, then those of the user.

    Files that begin with an underscore are shared by other files and are not choices.
    """
    folders = [CONF / group]
    if config_dir is not None:
        folders.append(Path(config_dir) / group)
    files = [file for folder in folders for file in sorted(folder.glob("*.yaml"))]
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def choice_names(group: str, config_dir: str | Path | None = None) -> list[str]:
    """Return the sorted names of the choices in a group."""
    names = set(choices(group, config_dir))
    if group == "objective":
        names |= set(SOFT_LOSSES)
    return sorted(names)


def register_objectives() -> None:
    """Register ``objective=NAME`` with Hydra for every soft loss."""
    from hydra.core.config_store import ConfigStore

    defaults = {setting.name: setting.default for setting in own_settings().values()}
    for loss in SOFT_LOSSES.values():
        node = {
            "defaults": ["_base", "_self_"],
            "hard_weight": loss.hard_weight,
            "soft_weight": loss.soft_weight,
            "soft": loss.name,
            **defaults,
        }
        ConfigStore.instance().store(group="objective", name=loss.name, node=node)
