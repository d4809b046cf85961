"""Composition of settings from a command line."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from limbeck._base.checks import check_text
from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import check_arms, check_groups
from limbeck.cli.config.groups import (
    CONF,
    GROUPS,
    check_choice,
    check_encoding,
    read_choice,
    register_objectives,
    yaml_message,
)
from limbeck.cli.config.hydra_settings import (
    MISSING,
    Composer,
    check_key,
    compose_settings,
    explain,
    unknown_choice,
)
from limbeck.cli.config.overrides import (
    DEFAULT_RECIPE,
    Parsed,
    add_default_recipe,
    key_of,
    names_object,
    parse,
    quote,
    quote_path,
    quote_words,
    section_of,
)
from limbeck.cli.config.sweep import SWEEPABLE, Point, expand, keys_to_choose, points
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
    composer = Composer(_search_path(config_dir))
    overrides = add_default_recipe(overrides)
    for text in (*overrides, str(config_dir)):
        check_text(text, "The command line")
    parsed = [parse(override) for override in overrides]
    if any(section_of(override) == "fit" for override in overrides):
        raise ConfigError(
            "Unknown key `fit`. Search for a student with 'limbeck fit budget.size=1MB'."
        )
    _check_choices(parsed, config_dir)
    register_objectives()
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        _explain_errors(parsed, config_dir),
    ):
        quoted_overrides = [quote_words(quote_path(override)) for override in overrides]
        split_overrides = split(quoted_overrides, config_dir, multirun=multirun)
        plain = split_overrides.plain
        sweeps = {**recipe_sweeps(composer, split_overrides), **split_overrides.sweeps}
        swept_choices = _sweep_choices(sweeps)
        _check_choices(swept_choices, config_dir)
        parsed[:] = [*swept_choices, *(p for p in parsed if p.key not in sweeps)]
        unswept = [override for override in plain if section_of(override) not in sweeps]
        config = compose_settings(composer, unswept)
        OmegaConf.resolve(config)
        with open_dict(config):
            if "recipe" not in config:
                config.recipe = dict(parsed).get("recipe", DEFAULT_RECIPE)
            plain_config: Any = OmegaConf.to_container(config)
            keys_to_choose(plain_config.get("choose"), sweeps)
            if sweeps:
                config.arms = _sweep_arms(config, composer, plain, sweeps, config_dir)
            config.sweep = sweeps or None
        return config


def _search_path(config_dir: str | Path | None) -> list[str]:
    """Return the override that adds the folder of the user to Hydra's search path."""
    if config_dir is None:
        return []
    if not Path(config_dir).is_dir():
        raise ConfigError(
            f"--config-dir {config_dir} is not a folder. Name a folder that contains recipe/, "
            "data/ and so on."
        )
    return [f"hydra.searchpath=[{quote(f'file://{Path(config_dir).resolve()}')}]"]


def _check_choices(parsed: Sequence[Parsed], config_dir: str | Path | None) -> None:
    for group, name in parsed:
        if group not in GROUPS:
            continue
        if name.startswith("_"):  # a file that other files share
            raise ConfigError(unknown_choice(group, name, config_dir))
        if config_dir is not None:
            check_choice(group, name, config_dir)


@contextmanager
def _explain_errors(parsed: Sequence[Parsed], config_dir: str | Path | None) -> Iterator[None]:
    """Turn errors of Hydra, OmegaConf and YAML into ones that name the cause."""
    try:
        yield
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(yaml_message(error)) from None
    except RecursionError:
        raise ConfigError(
            "The settings contain themselves. Check the aliases (*NAME) and ${...} in your files."
        ) from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            check_encoding(config_dir)
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
    study: Any = OmegaConf.to_container(base)
    check_groups(study, SWEEPABLE)
    check_arms(study.get("arms"), study)
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
            is_part = isinstance(values[key], dict) and not names_object(values[key])
            OmegaConf.update(settings, key, values[key], merge=is_part)
        OmegaConf.resolve(settings)
        point: Any = OmegaConf.to_container(settings)
        check_groups(point, (*SWEEPABLE, "arms"))
        sweep.append(Point(values, point))

    def views(name: str) -> Any:
        return read_choice("views", name, config_dir)

    return expand(study, sweep, views, keys_to_choose(study.get("choose"), sweeps))


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
