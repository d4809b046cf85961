"""Composition of settings with Hydra, and messages about invalid overrides."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import DictConfig, OmegaConf, open_dict

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError
from limbeck._base.scope import refusal_of
from limbeck.cli.config.groups import GROUPS, choice_names
from limbeck.cli.config.key_hints import unknown_key_message
from limbeck.cli.config.overrides import (
    Parsed,
    key_of,
    names_object,
    parse_value,
    section_of,
    split_model_name,
)

MISSING = object()
INVALID_DEFAULTS = "an item in its list `defaults` that is not valid"
_WORDS_OF_LIBRARIES = (
    (re.compile(r" Config search path:.*"), ""),
    (re.compile(r" full_key:.*"), ""),
    (re.compile(r"\w+ raised while composing config: "), ""),
    (
        re.compile(r"Cannot merge (DictConfig with ListConfig|ListConfig with DictConfig)"),
        "a list and a group of settings have the same key",
    ),
)
"""Words of Hydra and OmegaConf in messages, with those that replace them."""
OPEN_GROUPS = ("trainer", "arms", "student.config", "teacher.model.config")
"""Groups that accept new keys on the command line."""


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
            try:
                config = hydra_compose("config", overrides=[*self.search_path, *overrides])
            except (AssertionError, AttributeError, LookupError, TypeError):
                # Hydra trusts the lists of defaults in files, such as that each item has a name
                raise ValueError(f"a file has {INVALID_DEFAULTS}") from None
            self._configs[key] = config
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
    values: list[str] = []
    for override in parts:
        if override not in groups:
            values += check_override(base, override)
    config = _compose_choices(composer, groups, values)
    _drop_temperature_of_recipe(config, values)
    return config


def _drop_temperature_of_recipe(config: Any, overrides: Sequence[str]) -> None:
    """Set the temperature of a recipe to 1 if the data has values to predict, which have none."""
    is_set = any(
        section_of(override) == "objective" and "temperature" in override for override in overrides
    )
    has_temperature = OmegaConf.select(config, "objective.temperature") is not None
    if has_temperature and not is_set and OmegaConf.select(config, "data.task") == "regression":
        config.objective.temperature = 1.0


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


def check_override(base: Any, override: str) -> list[str]:
    """Return an override with known keys, in the form that Hydra needs.

    A value in braces changes the settings that it lists. If it names an object, it replaces the
    previous one with all its settings, which Hydra would merge.

    Raises:
        ConfigError: If a key is unknown. The message suggests a similar key.
    """
    checked = check_key(base, override)
    value = parse_value(override)
    key = key_of(override)
    if not isinstance(value, dict) or key == "sweep":  # the keys of a sweep are checked later
        return [checked]
    replaced = list(_replaced_groups(base, key, value))
    if override[0] not in "+~":
        _check_nested_keys(base, key, value, replaced)
        checked = f"++{override}"
    return [*(f"~{group}" for group in replaced), checked]


def _replaced_groups(base: Any, key: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the groups that a value in braces replaces."""
    if not isinstance(OmegaConf.select(base, key, default=None), DictConfig):
        return
    if names_object(value):
        yield key
        return
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _replaced_groups(base, f"{key}.{name}", inner)


def _check_nested_keys(
    base: Any, key: str, value: Mapping[str, Any], replaced: Sequence[str]
) -> None:
    """Check the keys inside a value in braces, except in groups that it replaces."""
    is_group = isinstance(OmegaConf.select(base, key, default=None), DictConfig)
    if key in replaced or _is_open(base, key) or not is_group:
        return
    for name, inner in value.items():
        check_key(base, f"{key}.{name}=")
        if isinstance(inner, dict):
            _check_nested_keys(base, f"{key}.{name}", inner, replaced)


def check_key(base: Any, override: str) -> str:
    """Return an override with a known key, in the form that Hydra needs.

    New keys of ``trainer``, ``arms`` and settings of Hugging Face models are checked later.

    Raises:
        ConfigError: If the key is unknown. The message suggests a similar key.
    """
    key = key_of(override)
    is_new = override[0] in "+~"
    if key.startswith("arms.") and override[0] != "+":
        _check_arm(key.split(".")[1], list(base.arms or {}))
    if not is_new and _is_open(base, key):
        return f"++{override}"
    if is_new or OmegaConf.select(base, key, default=MISSING) is not MISSING:
        return override
    if key.startswith("sweep."):
        raise ConfigError(
            f"{key}: give the values of a sweep as in 'limbeck run -m {key.partition('.')[2]}=A,B'."
        )
    raise ConfigError(unknown_key_message(base, key))


def _is_open(base: Any, key: str) -> bool:
    """Whether a key is in a group that accepts new keys, which are checked later."""
    for group in OPEN_GROUPS:
        is_inside = f"{key}.".startswith(f"{group}.")
        if is_inside and isinstance(OmegaConf.select(base, group, default=None), DictConfig):
            return True
    return False


def _check_arm(name: str, arms: Sequence[str]) -> None:
    if name in arms:
        return
    hint = did_you_mean(name, arms, "`arms.{}`")
    raise ConfigError(
        f"Unknown arm `arms.{name}`.{hint} This study has {', '.join(arms) or 'none'}; put a + in "
        "front to add one."
    )


def explain(error: Exception, parsed: Sequence[Parsed], config_dir: str | Path | None) -> str:
    """Explain in one line why Hydra rejected the overrides."""
    for key, value in parsed:
        if key in GROUPS and value not in choice_names(key, config_dir):
            return unknown_choice(key, value, config_dir)
    reason = " ".join(str(error).split()) or type(error).__name__
    for pattern, text in _WORDS_OF_LIBRARIES:
        reason = pattern.sub(text, reason)
    return f"The settings cannot be read: {reason}"


def unknown_choice(group: str, name: str, config_dir: str | Path | None) -> str:
    """Return the message about a choice that a group does not have."""
    names = choice_names(group, config_dir)
    if not name:
        return f"{group} cannot be left out. Choose one of {', '.join(names)}."
    hint = did_you_mean(name, names)
    if sentence := refusal_of(name):
        hint = f" {sentence}"
    return f"{group}={name} is unknown.{hint} Choose one of {', '.join(names)}."
