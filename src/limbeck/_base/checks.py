"""Settings as plain values: what they may be, and which key a misspelt one may mean."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limbeck._base.errors import ConfigError

ARM_KEYS = ("objective", "student", "views", "transfer", "optimizer", "epochs", "control")
_DIFFERENCES = {
    "objective": "{temperature: 4}",
    "transfer": "{samples: 100}",
    "optimizer": "{lr: 0.01}",
    "student": "{dropout: 0.1}, or {_target_: limbeck.models.TorchvisionModel, _partial_: true, name: resnet18}",
}
_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=,-]{0,99}")


def check_count(name: str, value: Any) -> int:
    """A whole number of at least 1.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r} should be a whole number of at least 1.")
    return value


def check_seed(name: str, value: Any) -> int:
    """A whole number from 0 to 2^31 - 1.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ConfigError(f"{name}={value!r} should be a whole number from 0 to 2147483647.")
    return value


def seed_list(seeds: Any) -> list[int]:
    """Seeds given as a number (5 means 0 to 4) or as a list.

    Raises:
        ConfigError: none, a repeated one, or not whole numbers from 0 to 2^31 - 1.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return list(range(check_count("seeds", seeds)))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds={seeds!r} should be a number of seeds, or a list of them.")
    listed = list(seeds)
    if not listed:
        raise ConfigError(
            "seeds=[] is empty; at least one seed is needed, five or more for a verdict."
        )
    for seed in listed:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 31:
            raise ConfigError(
                f"seeds={listed}: {seed!r} should be a whole number from 0 to 2147483647."
            )
    if len(set(listed)) < len(listed):
        raise ConfigError(f"seeds={listed} names a seed twice; a repeated seed is no new evidence.")
    return listed


def check_arm_names(names: Sequence[str]) -> None:
    """Names of arms are names of folders.

    Raises:
        ConfigError: there is none, one is not fit for a folder, or it is ``teacher``.
    """
    if not names:
        raise ConfigError("arms is empty; a study needs at least one arm.")
    for name in names:
        if not isinstance(name, str) or not _ARM_NAME.fullmatch(name) or name == "teacher":
            raise ConfigError(
                f"arms.{name}: a name of up to 100 letters, digits and . _ + = , - was expected "
                "(and not 'teacher'); "
                "it names a folder."
            )


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one most likely means, if any is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def without_addresses(text: str) -> str:
    """What ``repr`` says of objects, less their places in memory, which differ from process to
    process.
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def check_flags(settings: Mapping[str, Any]) -> None:
    """Check the switches of a study.

    Raises:
        ConfigError: one is neither true nor false.
    """
    for name in ("overwrite", "quick"):
        if not isinstance(settings[name], bool):
            raise ConfigError(f"{name}={settings[name]!r} should be true or false.")


def check_arms(arms: Any, settings: Mapping[str, Any]) -> None:
    """Check that every arm lists differences from keys that exist.

    Raises:
        ConfigError: naming the key, with a suggestion.
    """
    if not isinstance(arms, Mapping):
        raise ConfigError(f"arms={arms!r} should list arms by name.")
    arms_of = {name: arm for name, arm in arms.items() if arm is not None}
    check_arm_names([str(name) for name in arms])
    for name, arm in arms_of.items():
        if not isinstance(arm, Mapping):
            raise ConfigError(
                f"arms.{name}={arm!r} should list the arm's differences, as in "
                "objective.temperature."
            )
        _check_keys(arm, ARM_KEYS, f"arms.{name}")
        for part in ("objective", "transfer", "optimizer", "student", "views"):
            own = arm.get(part)
            if own is not None and not isinstance(own, Mapping) and part != "views":
                raise ConfigError(
                    f"arms.{name}.{part}={own!r} should be a group of settings, as in "
                    f"{_DIFFERENCES[part]}."
                )
            if (
                isinstance(own, Mapping)
                and "_target_" not in own
                and isinstance(settings[part], Mapping)
            ):
                _check_keys(own, settings[part], f"arms.{name}.{part}")


def merged(base: Mapping[str, Any], differences: Mapping[str, Any] | None) -> dict[str, Any]:
    """``base`` with differences; a difference that names a ``_target_`` of its own replaces it
    whole.
    """
    if not differences:
        return dict(base)
    return dict(differences) if "_target_" in differences else {**base, **differences}


def merged_objective(
    base: Mapping[str, Any], differences: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The objective of an arm; a control (one that sets ``soft_weight`` to 0) takes no features of
    the study.
    """
    found = merged(base, differences)
    return {**found, "features": []} if differences and is_control(differences) else found


def is_control(differences: Mapping[str, Any]) -> bool:
    """Whether an arm's differences in the objective make it a control: no soft loss, and no
    features of its own.
    """
    return differences.get("soft_weight") == 0 and not differences.get("features")


def check_sections(settings: Mapping[str, Any], sections: Mapping[str, Iterable[str]]) -> None:
    """Check that a study has all its keys and no other, and each section none but its own.

    Args:
        settings: of a study.
        sections: the keys of those sections whose keys are fixed, by name; ``""`` for the keys of
            the study.

    Raises:
        ConfigError: naming the key, with a suggestion.
    """
    for name, known in sections.items():
        found = settings if name == "" else settings[name]
        _check_keys(found, known, name)
        missing = [key for key in known if key not in found]
        if missing:
            where = f"{name}." if name else ""
            raise ConfigError(
                f"the setting {where}{missing[0]} is missing; 'limbeck run --cfg job' shows every "
                "key."
            )


def _check_keys(found: Iterable[str], known: Iterable[str], where: str) -> None:
    prefix = f"{where}." if where else ""
    for key in found:
        if key not in known:
            near = closest(str(key), known)
            hint = f"; did you mean {prefix}{near}?" if near else f"; known are {', '.join(known)}."
            raise ConfigError(f"unknown key {prefix}{key}{hint}")
