"""From a command line to composed settings: Hydra's groups and overrides, and what to say of a
wrong one.
"""

import copy
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError
from limbeck.cli.config.sweep import MOST_POINTS, SWEEPABLE, distinct, expand, points

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
SWEEPS = {"transfer": "transfer.labelled=50,100", "optimizer": "optimizer.lr=0.001,0.01"}
MODELS = {"student": "student.name", "teacher": "teacher.model.name"}
LIBRARIES = ("torchvision", "timm")
PATHS = (
    "out",
    "data.root",
    "data.images",
    "data.table",
    "data.path",
    "data.tokenizer",
    "data.cache",
    "store.folder",
    "teacher.from",
    "teacher.model.path",
    "student.path",
)
TEXT = ("text", "text_folder")
_MISSING = object()


def compose(
    overrides: Sequence[str], config_dir: str | Path | None = None, *, multirun: bool = False
) -> Any:
    """The settings that overrides lead to.

    Args:
        overrides: ``KEY=VALUE``, in Hydra's grammar.
        config_dir: a folder with groups of the user's own.
        multirun: keys with several values are swept: each value makes arms of the one study.

    Raises:
        ConfigError: an override cannot be read, or names an unknown key, group or choice; a key
            that has several values cannot be swept, or not without ``multirun``; the recipe's
            ``sweep`` is no list of values by key.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(
            f"--config-dir {config_dir} is not a folder; name one with recipe/, data/ ... inside."
        )
    overrides = _with_recipe(overrides)
    parsed = [_parse(override) for override in overrides]
    search = (
        [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    )
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            ready = [
                _quoted(override, *found) for override, found in zip(overrides, parsed, strict=True)
            ]
            plain, asked = _split(ready, parsed, config_dir, multirun=multirun)
            sweeps = {**_of_recipe(search, plain, asked), **asked}
            config = _composed(search, [o for o in plain if _section(o) not in sweeps])
            OmegaConf.resolve(config)
            if sweeps:
                chosen = [
                    (group, str(name))
                    for group in sweeps
                    if group in GROUPS
                    for name in sweeps[group]
                ]
                parsed = chosen + [found for found in parsed if found[0] not in sweeps]
                arms = _swept_arms(config, search, plain, sweeps, config_dir)
                with open_dict(config):
                    config.arms = arms
            with open_dict(config):
                config.sweep = sweeps or None
            return config
        except ConfigError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_explain(error, parsed, config_dir)) from None


def _composed(search: list[str], overrides: Sequence[str]) -> Any:
    """The settings with overrides, interpolations not yet resolved."""
    overrides = [part for override in overrides for part in _with_model(override)]
    chosen = [o for o in overrides if _key(o) in GROUPS]
    base = _with_choices_whole(search, chosen, [])
    ready = [_check_key(base, o, _key(o)) for o in overrides if o not in chosen]
    return _with_choices_whole(search, chosen, ready)


# Sweeps -------------------------------------------------------------------------------------------


def _split(
    overrides: Sequence[str],
    parsed: Sequence[tuple[str, str]],
    config_dir: str | Path | None,
    *,
    multirun: bool,
) -> tuple[list[str], dict[str, list[Any]]]:
    """The overrides of one value, and the values of the swept keys."""
    plain: list[str] = []
    sweeps: dict[str, list[Any]] = {}
    for override, (key, value) in zip(overrides, parsed, strict=True):
        try:
            found = OverridesParser.create().parse_override(override)
        except HydraException as error:
            raise ConfigError(
                f"{override} cannot be read: {' '.join(str(error).split())}"
            ) from None
        if not found.is_sweep_override():
            # sweep=null first, so that Hydra does not merge a sweep into the recipe's
            plain += ["sweep=null"] * (key == "sweep") + _with_model(override)
            continue
        _check_sweep(key, value, multirun=multirun)
        if key in sweeps:
            raise ConfigError(
                f"{key} is swept twice; give all its values at once, as in {key}=1,2,3."
            )
        values = distinct(_values(found, config_dir))
        if not values:
            raise ConfigError(f"{key}={value} holds no value; as in objective.temperature=1,2,4.")
        sweeps[key] = values
    return plain, sweeps


def _of_recipe(
    search: list[str], plain: Sequence[str], asked: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """The sweep that the recipe holds, less what the command line sets; two values of each key if
    the run is quick.
    """
    wanted = [o for o in plain if _key(o) in GROUPS or _key(o) in ("sweep", "quick")]
    config = hydra_compose("config", overrides=[*search, *wanted])
    found: Any = OmegaConf.to_object(config.get("sweep") or OmegaConf.create())
    if not isinstance(found, dict):
        raise ConfigError(
            f"sweep={found!r} should list values by key, as in {{objective.temperature: [1, 2, "
            f"4]}}."
        )
    given = {_key(o) for o in plain} - {"recipe"} | set(asked)
    sweeps: dict[str, list[Any]] = {}
    for key, values in found.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"sweep: {key}: {values!r} should be a list of values, as in [1, 2, 4]."
            )
        _check_sweep(str(key), ",".join(map(str, values)), multirun=True)
        if key in asked or not any(f"{key}.".startswith(f"{other}.") for other in given):
            values = distinct(values)
            sweeps[key] = [values[0], *values[1:][-1:]] if config.quick is True else values
    return sweeps


def _check_sweep(key: str, value: str, *, multirun: bool) -> None:
    """Refuse a key that arms of one study share, and several values where no sweep was asked for."""
    section, _, rest = key.partition(".")
    if section not in SWEEPABLE:
        again = f"; several seeds are a list, seeds=[{value}]." if key == "seeds" else "."
        raise ConfigError(
            f"{key}={value} names several values, and {key} cannot be swept: the arms of one study "
            "differ in "
            f"{', '.join(SWEEPABLE[:-1])} or {SWEEPABLE[-1]} alone. Run the study once for each "
            f"value instead{again}"
        )
    if not rest and section not in GROUPS:
        raise ConfigError(
            f"{key}={value} cannot be swept whole; sweep a setting in it, as in {SWEEPS[section]}."
        )
    if not multirun:
        raise ConfigError(
            f"{key}={value} names several values: 'limbeck run -m {key}={value}' makes each of "
            "them arms of one study. "
            f"A list as a value is written in brackets, {key}=[...]."
        )


def _values(override: Override, config_dir: str | Path | None) -> list[Any]:
    """The values of a sweep, in the order given; at most one more than can be swept."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, IntervalSweep):
        raise ConfigError(
            f"{key}: an interval has no steps; use {key}=range(START,STOP,STEP), or list the "
            "values."
        )
    if isinstance(value, Glob):
        return value.filter(sorted(choices(key, config_dir)))
    if isinstance(value, Sweep):
        value.shuffle = False  # the order of arms should not change when the run is resumed
    found = list(itertools.islice(override.sweep_iterator(), MOST_POINTS + 1))
    return [_plain(v) for v in found]


def _plain(value: Any) -> Any:
    """A value of Hydra's parser as plain Python."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return (
        {str(_plain(k)): _plain(v) for k, v in value.items()} if isinstance(value, dict) else value
    )


def _swept_arms(
    base: Any,
    search: list[str],
    plain: Sequence[str],
    sweeps: Mapping[str, list[Any]],
    config_dir: str | Path | None,
) -> dict[str, Any]:
    """The arms of a sweep. Each point has the settings that a run with its values would have."""
    whole: dict[tuple[Any, ...], Any] = {}
    at = []
    for point in points(sweeps):
        group = {key: value for key, value in point.items() if key in GROUPS}
        choice = tuple(map(str, group.values()))
        if choice not in whole:
            whole[choice] = _choice(search, plain, group)
        settings = copy.deepcopy(whole[choice])
        for key in point.keys() - group.keys():
            if OmegaConf.select(settings, key, default=_MISSING) is _MISSING:
                _unknown(settings, key, group)
            OmegaConf.update(settings, key, point[key], merge=False)
        OmegaConf.resolve(settings)
        at.append((point, OmegaConf.to_container(settings)))

    def views(name: str) -> Any:
        file = choices("views", config_dir).get(name)
        return name if file is None else OmegaConf.to_container(OmegaConf.load(file))

    return expand(OmegaConf.to_container(base), at, views)  # type: ignore[arg-type]


def _choice(search: list[str], plain: Sequence[str], group: Mapping[str, Any]) -> Any:
    """The settings with one choice of each swept group."""
    kept = [o for o in plain if _key(o) not in group]
    try:
        return _composed(search, [*kept, *(f"{name}={choice}" for name, choice in group.items())])
    except ConfigError as error:
        if any(_section(o) in group for o in kept):
            chosen = " ".join(f"{name}={choice}" for name, choice in group.items())
            raise ConfigError(f"With {chosen}: {error}") from None
        raise


def _unknown(settings: Any, key: str, group: Mapping[str, Any]) -> None:
    """Refuse a swept key that the settings do not have."""
    section = key.partition(".")[0]
    if section in group:
        raise ConfigError(
            f"{key} is swept, and {section}={group[section]} has no such setting. Sweep it in a "
            f"study of one {section}."
        )
    _check_key(settings, f"{key}=", key)


def choices(group: str, config_dir: str | Path | None = None) -> dict[str, Path]:
    """The files of a group by name: limbeck's own, then those in a user's folder."""
    folders = [CONF / group] + ([] if config_dir is None else [Path(config_dir) / group])
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def _with_choices_whole(search: list[str], chosen: list[str], ready: list[str]) -> Any:
    """Compose; of a group chosen on the command line the recipe's differences do not count: they
    fit its own choice.
    """
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


def _with_recipe(overrides: Sequence[str]) -> list[str]:
    """Other data than the default recipe's does not go by that recipe's settings."""
    chosen = {_key(o): o.partition("=")[2] for o in overrides}
    data = chosen.get("data", "digits")
    if "recipe" in chosen or data == "digits":
        return list(overrides)
    return [f"recipe={'text' if data in TEXT else 'plain'}", *overrides]


def _parse(override: str) -> tuple[str, str]:
    """Key and value of an override, as far as a message needs them."""
    key, equals, value = override.partition("=")
    if not key.strip("+~ ") or (not equals and not override.startswith("~")):
        raise ConfigError(f"{override!r} should be KEY=VALUE, as in recipe=mnist or epochs=60.")
    return key.lstrip("+~"), value


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _with_model(override: str) -> list[str]:
    """``student=torchvision/resnet18`` as what Hydra knows: the group's choice and the model's
    name.
    """
    key, _, value = override.partition("=")
    library, slash, name = value.strip("'\"").partition("/")
    if key not in MODELS or not slash or library not in LIBRARIES:
        return [override]
    return [f"{key}={library}", f"{MODELS[key]}='{name}'"]


def _section(override: str) -> str:
    return _key(override).partition(".")[0]


def _quoted(override: str, key: str, value: str) -> str:
    """The override, a path in quotes: Hydra's grammar knows no umlauts, and takes commas and
    brackets for its own.
    """
    if key not in PATHS or not value or value == "null" or value[0] in "['\"":
        return override
    path = os.path.expanduser(value).replace("'", "\\'")
    return f"{override.partition('=')[0]}='{path}'"


def _check_key(base: Any, override: str, key: str) -> str:
    """The override, if its key is known; keys of ``trainer`` and ``arms`` may be new and are
    checked later.
    """
    if key.startswith("arms.") and override[0] != "+":
        name, arms = key.split(".")[1], list(base.arms or {})
        if name not in arms:
            near = closest(name, arms)
            hint = f"; did you mean arms.{near}?" if near else "."
            raise ConfigError(
                f"unknown arm arms.{name}{hint} This study has {', '.join(arms) or 'none'}; a + in "
                "front adds one."
            )
    if key.partition(".")[0] in ("trainer", "arms") and override[0] not in "+~":
        return f"++{override}"
    if override[0] in "+~" or OmegaConf.select(base, key, default=_MISSING) is not _MISSING:
        return override
    if key.startswith("sweep."):
        raise ConfigError(
            f"{key}: a sweep's values are given as in 'limbeck run -m {key.partition('.')[2]}=A,B'."
        )
    known = _flat(OmegaConf.to_container(base, resolve=False))
    near = closest(key, known) or closest(
        key, [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]]
    )
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


def _explain(
    error: Exception, parsed: Sequence[tuple[str, str]], config_dir: str | Path | None
) -> str:
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
