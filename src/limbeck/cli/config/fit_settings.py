"""Settings of ``limbeck fit``: those of its own, and those of a study."""

from collections.abc import Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from limbeck._base.checks import closest, did_you_mean
from limbeck._base.errors import ConfigError
from limbeck.cli.config.overrides import parse, section_of
from limbeck.cli.config.study_keys import STUDY_KEYS
from limbeck.search.settings import GROUPS, KEYS, SearchSettings

REFUSED = {
    "student": "It chooses the student itself: set search.students, search.width or search.depth.",
    "arms": "Its arms are the chosen student with and without the teacher.",
    "sweep": "It chooses temperature, weights and learning rate itself: set search.temperature, "
    "search.soft_weight or search.lr.",
    "choose": "It chooses on validation anyway.",
}
"""Settings of a study that a search replaces, with what to do instead."""
ARMS: dict[str, Any] = {
    "control": {"objective": {"hard_weight": 1.0, "soft_weight": 0.0}},
    "distilled": {},
}
"""Arms of the final study as settings."""


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Divide overrides into those of a study and the settings of the search.

    Args:
        overrides: Overrides of the form ``KEY=VALUE``.

    Returns:
        Overrides for :func:`~limbeck.cli.config.compose.compose`, and the settings of the search as
        plain values.

    Raises:
        ConfigError: If an override is malformed, or a search chooses the setting itself.
    """
    rest: list[str] = []
    own: list[str] = []
    for override in overrides:
        section = section_of(override)
        key = parse(override).key
        if section in REFUSED:
            raise ConfigError(f"'limbeck fit' takes no {key}=. {REFUSED[section]}")
        if section == "profile":
            raise ConfigError(f"Unknown key `{key}`. Did you mean `budget.profile`?")
        is_known = section in (*STUDY_KEYS, *KEYS)
        if not is_known and closest(section, [*STUDY_KEYS, *KEYS]) in KEYS:
            hint = did_you_mean(section, KEYS, "`{}`")
            raise ConfigError(f"Unknown key `{key}`.{hint} 'limbeck fit --help' lists all.")
        if section in KEYS and override[0] in "+~":
            raise ConfigError(f"{override}: write {key}=VALUE, without {override[0]}.")
        (own if section in KEYS else rest).append(override)
    for section in GROUPS:
        if any(parse(override).key == section for override in own):
            example = "budget.size=1MB" if section == "budget" else "search.students=[mlp]"
            raise ConfigError(f"{section} is a group of settings, as in {example}.")
    try:
        settings: Any = OmegaConf.to_container(OmegaConf.from_dotlist(own))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{' '.join(own)} cannot be read: {reason}.") from None
    return rest, SearchSettings.of(settings).as_dict()


def search_study_settings(settings: dict[str, Any], search: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a study with a search.

    Args:
        settings: Plain settings of the study.
        search: Settings of the search.
    """
    return {**settings, "arms": ARMS, "sweep": None, "choose": None, "fit": search}
