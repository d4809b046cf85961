"""Composition of settings with Hydra, and messages about invalid overrides."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import OmegaConf, open_dict

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError
from limbeck.cli.config.groups import CONF, GROUPS, choice_names
from limbeck.cli.config.key_hints import hint
from limbeck.cli.config.overrides import Parsed, key_of, section_of, split_model_name

MISSING = object()


class Composer:
    """Cached composition with Hydra, which takes a tenth of a second per call.

    Args:
        search_path: Override of Hydra's search path, or an empty list.
    """

    def __init__(self, search_path: Sequence[str]):
        self.search_path = list(search_path)
        self._configs: dict[tuple[str, ...], Any] = {}

    def __call__(self, overrides: Sequence[str]) -> Any:
        """Return the unresolved settings for overrides."""
        key = tuple(overrides)
        if key not in self._configs:
            self._configs[key] = hydra_compose("config", overrides=[*self.search_path, *overrides])
        return copy.deepcopy(self._configs[key])


def compose_settings(composer: Composer, overrides: Sequence[str]) -> Any:
    """Compose settings from overrides, without resolving interpolations.

    Args:
        composer: Cached composition with Hydra.
        overrides: Overrides with a single value each.

    Raises:
        ConfigError: If an override names an unknown key.
    """
    parts = [part for override in overrides for part in split_model_name(override)]
    groups = [override for override in parts if key_of(override) in GROUPS]
    base = _compose_choices(composer, groups, [])
    values = [check_key(base, override) for override in parts if override not in groups]
    return _compose_choices(composer, groups, values)


def _compose_choices(composer: Composer, groups: list[str], values: list[str]) -> Any:
    """Compose settings in which groups chosen on the command line ignore the recipe.

    The settings of a recipe inside such a group belong to the choice that the recipe makes.
    """
    config = composer([*groups, *values])
    choices = [override for override in groups if not override.startswith("recipe=")]
    if not choices:
        return config
    names = [override.partition("=")[0] for override in choices]
    inside = [override for override in values if section_of(override) in names]
    plain = composer([*choices, "~recipe", *inside])
    with open_dict(config):
        for name in names:
            config[name] = plain[name]
    return config


def check_key(base: Any, override: str) -> str:
    """Return an override with a known key, in the form that Hydra needs.

    New keys of ``trainer`` and ``arms`` are accepted here and checked later.

    Raises:
        ConfigError: If the key is unknown. The message suggests a similar key.
    """
    key = key_of(override)
    is_new = override[0] in "+~"
    if key.startswith("arms.") and override[0] != "+":
        _check_arm(key.split(".")[1], list(base.arms or {}))
    if section_of(override) in ("trainer", "arms") and not is_new:
        return f"++{override}"
    if is_new or OmegaConf.select(base, key, default=MISSING) is not MISSING:
        return override
    if key.startswith("sweep."):
        raise ConfigError(
            f"{key}: give the values of a sweep as in 'limbeck run -m {key.partition('.')[2]}=A,B'."
        )
    raise ConfigError(_unknown_key(base, key))


def _check_arm(name: str, arms: Sequence[str]) -> None:
    if name in arms:
        return
    match = closest(name, arms)
    hint = f" Did you mean `arms.{match}`?" if match else ""
    raise ConfigError(
        f"Unknown arm `arms.{name}`.{hint} This study has {', '.join(arms) or 'none'}; put a + in "
        "front to add one."
    )


def _unknown_key(base: Any, key: str) -> str:
    defaults = _flat(OmegaConf.to_container(base, resolve=False))
    advice = " ".join(filter(None, [f"Unknown key `{key}`.", hint(defaults, key)]))
    return f"{advice} `limbeck run --cfg job` lists every key."


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten settings to a mapping of full keys, including those of sections."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat


def explain(error: Exception, parsed: Sequence[Parsed], config_dir: str | Path | None) -> str:
    """Explain in one line why Hydra rejected the overrides."""
    for key, value in parsed:
        if not (CONF / key).is_dir():
            continue
        names = choice_names(key, config_dir)
        if not value:
            return f"{key} cannot be left out. Choose one of {', '.join(names)}."
        if value not in names:
            match = closest(value, names)
            hint = f" Did you mean {match}?" if match else ""
            return f"{key}={value} is unknown.{hint} Choose one of {', '.join(names)}."
    return "The settings cannot be read: " + " ".join(str(error).split())
