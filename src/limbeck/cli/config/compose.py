"""Composition of settings from a command line."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from limbeck._base.errors import ConfigError
from limbeck.cli.config.groups import CONF as CONF
from limbeck.cli.config.groups import GROUPS, choices, register_objectives
from limbeck.cli.config.hydra_settings import (
    MISSING,
    Composer,
    check_key,
    compose_settings,
    explain,
)
from limbeck.cli.config.overrides import (
    Parsed,
    add_default_recipe,
    key_of,
    parse,
    quote_path,
    section_of,
)
from limbeck.cli.config.sweep import Point, expand, points
from limbeck.cli.config.sweep_values import Sweeps, group_choices, recipe_sweeps, split


def compose(
    overrides: Sequence[str], config_dir: str | Path | None = None, *, multirun: bool = False
) -> Any:
    """Compose the settings of a study from overrides.

    Args:
        overrides: Overrides of the form ``KEY=VALUE``, in Hydra's grammar.
        config_dir: Folder with config groups of the user.
        multirun: Whether keys may have several values. Each value adds arms to the same study.

    Raises:
        ConfigError: If an override is malformed or names an unknown key, group or choice, if a key
            has several values but cannot be swept or ``multirun`` is false, or if ``sweep`` in the
            recipe does not map keys to lists of values.
    """
    search: list[str] = []
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(
                f"--config-dir {config_dir} is not a folder. Name a folder that contains recipe/, "
                "data/ and so on."
            )
        search = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    composer = Composer(search)
    overrides = add_default_recipe(overrides)
    parsed = [parse(override) for override in overrides]
    register_objectives()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            if any(key in GROUPS and value.startswith("_") for key, value in parsed):
                raise ValueError("a shared file is not a choice")
            quoted_overrides = [quote_path(override) for override in overrides]
            split_overrides = split(quoted_overrides, config_dir, multirun=multirun)
            plain = split_overrides.plain
            sweeps = {**recipe_sweeps(composer, split_overrides), **split_overrides.sweeps}
            parsed = [*_sweep_choices(sweeps), *(p for p in parsed if p.key not in sweeps)]
            unswept = [override for override in plain if section_of(override) not in sweeps]
            config = compose_settings(composer, unswept)
            OmegaConf.resolve(config)
            with open_dict(config):
                if sweeps:
                    config.arms = _sweep_arms(config, composer, plain, sweeps, config_dir)
                config.sweep = sweeps or None
            return config
        except ConfigError:
            raise
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"A YAML file of the settings is damaged: {reason}.") from None
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(explain(error, parsed, config_dir)) from None


def _sweep_choices(sweeps: Sweeps) -> list[Parsed]:
    """Return the choices of swept groups, for error messages."""
    choices = []
    for key, values in sweeps.items():
        if key in GROUPS:
            choices += [Parsed(key, str(value)) for value in values]
    return choices


def _sweep_arms(
    base: Any,
    composer: Composer,
    plain: Sequence[str],
    sweeps: Sweeps,
    config_dir: str | Path | None,
) -> dict[str, Any]:
    """Return the arms of a sweep, with the settings of each point composed as for a single run."""
    by_choice: dict[tuple[str, ...], Any] = {}
    sweep = []
    for values in points(sweeps):
        groups = group_choices(values)
        choice = tuple(groups.values())
        if choice not in by_choice:
            by_choice[choice] = _compose_with_choices(composer, plain, groups)
        settings = copy.deepcopy(by_choice[choice])
        for key in values.keys() - groups.keys():
            _check_swept_key(settings, key, groups)
            OmegaConf.update(settings, key, values[key], merge=False)
        OmegaConf.resolve(settings)
        sweep.append(Point(values, OmegaConf.to_container(settings)))  # type: ignore[arg-type]

    def views(name: str) -> Any:
        file = choices("views", config_dir).get(name)
        return name if file is None else OmegaConf.to_container(OmegaConf.load(file))

    return expand(OmegaConf.to_container(base), sweep, views)  # type: ignore[arg-type]


def _compose_with_choices(
    composer: Composer, plain: Sequence[str], groups: Mapping[str, str]
) -> Any:
    """Compose the settings with one choice for each swept group."""
    others = [override for override in plain if key_of(override) not in groups]
    overrides = [f"{group}={choice}" for group, choice in groups.items()]
    try:
        return compose_settings(composer, [*others, *overrides])
    except ConfigError as error:
        if any(section_of(override) in groups for override in others):
            raise ConfigError(f"With {' '.join(overrides)}: {error}") from None
        raise


def _check_swept_key(settings: Any, key: str, groups: Mapping[str, str]) -> None:
    """Check that a swept key exists in the settings."""
    if OmegaConf.select(settings, key, default=MISSING) is not MISSING:
        return
    section = key.partition(".")[0]
    if section in groups:
        raise ConfigError(
            f"{key} is swept, but {section}={groups[section]} has no such setting. Sweep it in a "
            f"study of one {section}."
        )
    check_key(settings, f"{key}=")
