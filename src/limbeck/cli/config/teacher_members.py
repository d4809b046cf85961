"""Settings of the unlike members of a teacher (``teacher.members=[...]``). It imports no torch."""

from collections.abc import Mapping
from typing import Any

from limbeck._base.checks import check_keys
from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import merge_differences

TRAINED_MEMBER_KEYS = ("model", "views", "epochs", "batch_size", "optimizer", "members")
"""Settings of one of several unlike teachers that are trained."""


def members_of(settings: Any) -> list[Any]:
    """Return the unlike members that a teacher lists, as they are; none without a list."""
    members = settings.get("members") if isinstance(settings, Mapping) else None
    return members if isinstance(members, list) else []


def member_settings(base: Mapping[str, Any], differences: Any, where: str) -> dict[str, Any]:
    """Return the settings of one of several members that are trained.

    Args:
        base: Settings of the teacher.
        differences: Differences of the member.
        where: Path of the member, for messages.

    Raises:
        ConfigError: If the differences are no group of settings, or a key is unknown.
    """
    if not isinstance(differences, Mapping):
        raise ConfigError(
            f"{where}={differences!r} should list the differences of a member from the teacher, as "
            "in {model: {hidden: [800]}, members: 2}."
        )
    check_keys(differences, TRAINED_MEMBER_KEYS, where)
    settings = {key: base[key] for key in TRAINED_MEMBER_KEYS} | {"members": 1}
    for key, value in differences.items():
        if key in ("model", "optimizer") and isinstance(value, Mapping):
            value = merge_differences(base[key] or {}, value)
        settings[key] = value
    return settings
