"""Creation of the objects that settings name in ``_target_``."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from limbeck._base.errors import (
    OUT_OF_MEMORY,
    ConfigError,
    LimbeckError,
    ResourceError,
    is_memory_error,
)

UNSET = "???"
"""Value of a setting that has to be set, in OmegaConf's notation."""


class ObjectFactory:
    """Creator of objects from their settings; equal settings share one object."""

    def __init__(self) -> None:
        self._objects: dict[str, Any] = {}

    def create(self, settings: Any, kind: type, where: str) -> Any:
        """Create an object of a given class.

        Args:
            settings: Settings of the object.
            kind: Expected class of the object.
            where: Key of the settings, for messages.

        Raises:
            ConfigError: If the object cannot be created, or has another class.
        """
        result = self._create(settings, where)
        if not isinstance(result, kind):
            raise ConfigError(
                f"{where}: {settings['_target_']} returned {_describe(result)}, but a "
                f"{kind.__name__} was expected."
            )
        return result

    def create_function(self, settings: Any, where: str) -> Callable[..., Any]:
        """Create a function, such as a class with some of its arguments.

        Raises:
            ConfigError: If it cannot be created, or cannot be called.
        """
        result = self._create(settings, where)
        if not callable(result) or isinstance(result, nn.Module):
            raise ConfigError(
                f"{where}: {settings['_target_']} returned {_describe(result)}, but a "
                f"function was expected. Set {where}._partial_=true to leave the missing arguments "
                "to limbeck."
            )
        function: Callable[..., Any] = result
        return function

    def create_functions(self, group: Mapping[str, Any], where: str) -> list[Callable[..., Any]]:
        """Create the functions of a group, without entries that are switched off (null)."""
        nodes = [(name, node) for name, node in group.items() if node]
        return [self.create_function(node, f"{where}.{name}") for name, node in nodes]

    def _create(self, settings: Any, where: str) -> Any:
        _check_settings(settings, where)
        key = json.dumps(settings, sort_keys=True, default=str)
        if key not in self._objects:
            self._objects[key] = _instantiate(settings, where)
        return self._objects[key]


def _check_settings(settings: Any, where: str) -> None:
    """Check that settings name an object and that all of them are set."""
    target = settings.get("_target_") if isinstance(settings, Mapping) else None
    if not isinstance(target, str) or not target:
        raise ConfigError(
            f"{where}={settings!r} should be a group of settings with _target_, the name of a "
            "class or function."
        )
    _check_values(settings, where)


def _check_values(value: Any, where: str) -> None:
    """Check that nested settings contain no missing value and no invalid ``_partial_``."""
    if value == UNSET:
        raise ConfigError(f"{where} is not set ({UNSET}). Give it a value.")
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_values(item, f"{where}[{number}]")
    if isinstance(value, Mapping):
        if not isinstance(value.get("_partial_", False), bool):
            raise ConfigError(f"{where}._partial_={value['_partial_']!r} should be true or false.")
        for key, item in value.items():
            _check_values(item, f"{where}.{key}")


def _instantiate(settings: Mapping[str, Any], where: str) -> Any:
    try:
        return instantiate(settings, _convert_="all")
    except (HydraException, OmegaConfBaseException, TypeError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, LimbeckError):
            raise cause from None
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if is_memory_error(cause):
            raise ResourceError(
                f"{OUT_OF_MEMORY} ran out while {where} was created ({reason})."
            ) from None
        raise ConfigError(f"{where}: {settings['_target_']} could not be built: {reason}") from None


def _describe(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
