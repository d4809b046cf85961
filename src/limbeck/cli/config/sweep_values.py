"""Values of swept keys, from the command line and from a recipe."""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError
from limbeck.cli.config.groups import GROUPS, choice_names
from limbeck.cli.config.hydra_settings import Composer
from limbeck.cli.config.overrides import key_of, parse, split_model_name, to_python
from limbeck.cli.config.sweep import MAX_POINTS, SWEEPABLE, distinct

EXAMPLES = {"transfer": "transfer.labelled=50,100", "optimizer": "optimizer.lr=0.001,0.01"}

Sweeps = dict[str, list[Any]]
"""Values of each swept key."""


class SplitOverrides(NamedTuple):
    """Overrides with a single value, and the values of swept keys."""

    plain: list[str]
    sweeps: Sweeps


def split(
    overrides: Sequence[str], config_dir: str | Path | None, *, multirun: bool
) -> SplitOverrides:
    """Separate overrides with a single value from sweeps.

    Raises:
        ConfigError: If an override is malformed, or a key cannot be swept.
    """
    plain: list[str] = []
    sweeps: Sweeps = {}
    for override in overrides:
        try:
            hydra_override = OverridesParser.create().parse_override(override)
        except HydraException as error:
            cause = re.sub(r"\w+ while evaluating", "in", str(error))  # names a class of Hydra
            reason = f"{override} cannot be read: {cause}"
            raise ConfigError(" ".join(reason.split())) from None
        key, value = parse(override)
        if not hydra_override.is_sweep_override():
            if key == "sweep":
                plain.append("sweep=null")  # or Hydra would merge the sweep into the recipe's
            plain += split_model_name(override)
            continue
        _check_sweep(key, value, multirun=multirun)
        if key in sweeps:
            raise ConfigError(
                f"{key} is swept twice; give all its values at once, as in {key}=1,2,3."
            )
        values = distinct(_values(hydra_override, config_dir))
        if not values:
            raise ConfigError(
                f"{key}={value} holds no value. List values, as in objective.temperature=1,2,4."
            )
        sweeps[key] = values
    return SplitOverrides(plain, sweeps)


def recipe_sweeps(composer: Composer, overrides: SplitOverrides) -> Sweeps:
    """Return the sweep of the recipe, without the keys that are set on the command line.

    A quick run sweeps only the first and the last value of each key.

    Raises:
        ConfigError: If ``sweep`` in the recipe does not map keys to lists of values.
    """
    groups = [o for o in overrides.plain if key_of(o) in GROUPS or key_of(o) in ("sweep", "quick")]
    config = composer(groups)
    sweep: Any = config.get("sweep") or {}
    if OmegaConf.is_config(sweep):
        sweep = OmegaConf.to_object(sweep)
    if not isinstance(sweep, dict):
        raise ConfigError(
            f"sweep={sweep!r} should list values by key, as in {{objective.temperature: [1, 2, "
            "4]}."
        )
    keys = {key_of(override) for override in overrides.plain} - {"recipe"}
    if "sweep" in keys:  # of the command line itself, so that student=mlp does not end it
        both = sorted(keys & set(map(str, sweep)))
        if both:
            raise ConfigError(f"{both[0]} is both set and swept. Give it once.")
        keys = set()
    sweeps: Sweeps = {}
    for key, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"sweep: {key}: {values!r} should be a list of values, as in [1, 2, 4]."
            )
        _check_sweep(str(key), ",".join(map(str, values)), multirun=True)
        if key in overrides.sweeps or not _is_set(key, keys | set(overrides.sweeps)):
            values = distinct(values)
            is_long = config.quick is True and len(values) > 2
            sweeps[key] = [values[0], values[-1]] if is_long else values
    return sweeps


def _is_set(key: str, keys: set[str]) -> bool:
    """Whether a key, or a section that contains it, is among the keys."""
    return any(f"{key}.".startswith(f"{other}.") for other in keys)


def _check_sweep(key: str, value: str, *, multirun: bool) -> None:
    """Check that a key can be swept and that ``multirun`` allows it."""
    section, _, rest = key.partition(".")
    if section not in SWEEPABLE:
        hint = f", or list several seeds as seeds=[{value}]" if key == "seeds" else ""
        raise ConfigError(
            f"{key}={value} has several values, but {key} cannot be swept: the arms of one study "
            f"differ in {', '.join(SWEEPABLE[:-1])} or {SWEEPABLE[-1]} alone. Run the study once "
            f"for each value instead{hint}."
        )
    if not rest and section not in GROUPS:
        raise ConfigError(
            f"{key}={value} sweeps a whole section. Sweep a single setting instead, as in "
            f"{EXAMPLES[section]}."
        )
    if not multirun:
        raise ConfigError(
            f"{key}={value} has several values: 'limbeck run -m {key}={value}' makes each of "
            f"them arms of one study. A list as a value is written in brackets, {key}=[...]."
        )


def _values(override: Override, config_dir: str | Path | None) -> list[Any]:
    """Return the values of a sweep in order, at most one more than the number allowed."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, IntervalSweep):
        raise ConfigError(
            f"{key}: an interval has no steps. Use {key}=range(START,STOP,STEP), or list the "
            "values."
        )
    if isinstance(value, Glob):
        return value.filter(choice_names(key, config_dir))
    if isinstance(value, Sweep):
        value.shuffle = False  # the order of arms should not change when the run is resumed
    values = itertools.islice(override.sweep_iterator(), MAX_POINTS + 1)
    return [to_python(value) for value in values]


def group_choices(point: Mapping[str, Any]) -> dict[str, str]:
    """Return the swept groups of a point with their choices."""
    return {key: str(value) for key, value in point.items() if key in GROUPS}
