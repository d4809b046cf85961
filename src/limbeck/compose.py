"""From a command line to composed settings: Hydra's groups and overrides, and what to say of a wrong one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from limbeck.config import closest
from limbeck.errors import ConfigError

CONF = Path(__file__).parent / "conf"
PATHS = ("out", "data.root", "teacher.from")
_MISSING = object()


def compose(overrides: Sequence[str], config_dir: str | Path | None = None) -> Any:
    """The settings that overrides lead to.

    Raises:
        ConfigError: an override cannot be read, or names an unknown key, group or choice.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir {config_dir} is not a folder; name one with recipe/, data/ ... inside.")
    parsed = [_parse(override) for override in overrides]
    overrides = [_quoted(override, *found) for override, found in zip(overrides, parsed, strict=True)]
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    groups = {p.name for p in CONF.iterdir() if p.is_dir()}
    chosen = [o for o, (key, _) in zip(overrides, parsed, strict=True) if key in groups]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            base = _with_choices_whole(search, chosen, [])
            ready = [_check_key(base, o, key) for o, (key, _) in zip(overrides, parsed, strict=True) if o not in chosen]
            config = _with_choices_whole(search, chosen, ready)
            OmegaConf.resolve(config)
            return config
        except ConfigError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_explain(error, parsed, config_dir)) from None


def choices(group: str, config_dir: str | Path | None = None) -> dict[str, Path]:
    """The files of a group by name: limbeck's own, then those in a user's folder."""
    folders = [CONF / group] + ([] if config_dir is None else [Path(config_dir) / group])
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def _with_choices_whole(search: list[str], chosen: list[str], ready: list[str]) -> Any:
    """Compose; of a group chosen on the command line the recipe's differences do not count: they fit its own choice."""
    config = hydra_compose("config", overrides=[*search, *chosen, *ready])
    groups = [o.partition("=")[0] for o in chosen if not o.startswith("recipe=")]
    if groups:
        inside = [o for o in ready if o.lstrip("+~").partition("=")[0].partition(".")[0] in groups]
        own = [o for o in chosen if not o.startswith("recipe=")]
        plain = hydra_compose("config", overrides=[*search, *own, "~recipe", *inside])
        with open_dict(config):
            for group in groups:
                config[group] = plain[group]
    return config


def _parse(override: str) -> tuple[str, str]:
    """Key and value of an override, as far as a message needs them."""
    key, equals, value = override.partition("=")
    if not key.strip("+~ ") or (not equals and not override.startswith("~")):
        raise ConfigError(f"{override!r} should be KEY=VALUE, as in recipe=mnist or epochs=60.")
    return key.lstrip("+~"), value


def _quoted(override: str, key: str, value: str) -> str:
    """The override, a path in quotes: Hydra's grammar knows no umlauts, and takes commas and brackets for its own."""
    if key not in PATHS or not value or value == "null" or value[0] in "['\"":
        return override
    path = os.path.expanduser(value).replace("'", "\\'")
    return f"{override.partition('=')[0]}='{path}'"


def _check_key(base: Any, override: str, key: str) -> str:
    """The override, if its key is known; keys of ``trainer`` and ``arms`` may be new and are checked later."""
    if key.startswith("arms.") and override[0] != "+":
        name, arms = key.split(".")[1], list(base.arms or {})
        if name not in arms:
            near = closest(name, arms)
            hint = f"; did you mean arms.{near}?" if near else "."
            raise ConfigError(
                f"unknown arm arms.{name}{hint} This study has {', '.join(arms) or 'none'}; a + in front adds one."
            )
    if key.partition(".")[0] in ("trainer", "arms") and override[0] not in "+~":
        return f"++{override}"
    if override[0] in "+~" or OmegaConf.select(base, key, default=_MISSING) is not _MISSING:
        return override
    known = _flat(OmegaConf.to_container(base, resolve=False))
    near = closest(key, known) or closest(key, [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]])
    hint = "" if near is None else f"; did you mean {near} (default {_shown(known[near])})?"
    raise ConfigError(f"unknown key {key}{hint} 'limbeck run --cfg job' shows every key.")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a group of settings"
    return "null" if value is None else str(value)


def _explain(error: Exception, parsed: Sequence[tuple[str, str]], config_dir: str | Path | None) -> str:
    """One line for what Hydra refused."""
    for key, value in parsed:
        folder = CONF / key
        if folder.is_dir():
            known = sorted(choices(key, config_dir))
            if not value:
                return f"{key} cannot be left out; choose one of {', '.join(known)}."
            if value not in known:
                near = closest(value, known)
                hint = f"; did you mean {near}?" if near else "."
                return f"{key}={value} is unknown{hint} Choose one of {', '.join(known)}."
    return "the settings cannot be read: " + " ".join(str(error).split())
