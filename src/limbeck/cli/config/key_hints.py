"""Messages about unknown keys, with hints.

A hint names another spelling, the name of a setting in other tools, or a key of another choice.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from limbeck._base.checks import closest
from limbeck._base.reading import parse_yaml, read_text
from limbeck._base.scope import refusal_of
from limbeck.cli.config.groups import CONF, GROUPS, choices

OTHER_NAMES = {
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "tau": "objective.temperature",
    "T": "objective.temperature",
    "alpha": "objective.soft_weight",
    "kd_weight": "objective.soft_weight",
    "ce_weight": "objective.hard_weight",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "bs": "batch_size",
    "output_dir": "out",
    "save_dir": "out",
    "dataset": "data",
    "model": "student",
    "gpus": "trainer.devices",
    "device": "trainer.accelerator",
    "fp16": "trainer.precision",
    "amp": "trainer.precision",
}
"""Names of settings in other tools."""
TEACHER_FILES = {"checkpoint", "ckpt", "ckpt_path", "path", "file", "weights", "run"}
"""Names that others give to the file of a teacher."""
WORKERS = {"num_workers", "workers", "pin_memory", "persistent_workers", "prefetch_factor"}
"""Settings of data loaders with processes of their own."""


def unknown_key_message(base: Any, key: str) -> str:
    """Say that a key is unknown, with a hint and where to find all keys.

    Args:
        base: The composed settings.
        key: The full key, such as ``objective.temprature``.
    """
    settings: Any = OmegaConf.to_container(base, resolve=False)
    settings.pop("sweep", None)  # its keys are those of other settings
    defaults = _flat(settings)
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


def hint(defaults: Mapping[str, Any], key: str) -> str:
    """Return a sentence that helps with an unknown key, or nothing.

    Args:
        defaults: All keys of the study with their defaults, sections included.
        key: Unknown key.
    """
    section = key.partition(".")[0]
    name = key.rpartition(".")[2]
    if section == "hydra":
        return "Settings of Hydra itself are not used. For the run folder, use `out=DIR`."
    if sentence := refusal_of(name):
        return sentence
    if name in WORKERS:
        return "The data is kept in memory, so there are no worker processes. Leave it out."
    if section == "teacher" and name in TEACHER_FILES:
        return "For an existing teacher, use `teacher.from=FILE` or `teacher.from=RUN`."
    if name not in defaults and name in OTHER_NAMES:
        return _suggestion(defaults, OTHER_NAMES[name])
    same_name = [other for other in defaults if other.endswith(f".{name}")]
    same_name.sort(key=lambda other: other.count("."))
    in_section = [other for other in same_name if other.startswith(f"{section}.")]
    if in_section:
        return _suggestion(defaults, in_section[0])
    elsewhere = _in_other_choices(key)
    if elsewhere and (section in GROUPS or not same_name):
        return elsewhere
    if same_name:
        return _suggestion(defaults, same_name[0])
    siblings = [other for other in defaults if other.rpartition(".")[0] == key.rpartition(".")[0]]
    match = closest(key, defaults) or closest(key, siblings)
    return "" if match is None else _suggestion(defaults, match)


def _suggestion(defaults: Mapping[str, Any], key: str) -> str:
    if key not in defaults:
        return f"Did you mean `{key}`?"
    default = defaults[key]
    if isinstance(default, dict):
        default = "a group of settings"
    elif default is None:
        default = "null"
    return f"Did you mean `{key}` (default {default})?"


def _in_other_choices(key: str) -> str:
    """Name the choices of a group that have the key; a key without a group may be of any."""
    section = key.partition(".")[0]
    for group in [section] if section in GROUPS else ["data", "student", "views"]:
        full_key = key if section in GROUPS else f"{group}.{key}"
        names = []
        for name in choices(group):
            if full_key in _keys_of_choice(group, name):
                names.append(name)
        if names:
            example = "image_folder" if "image_folder" in names else names[0]
            which = "it" if len(names) == 1 else "one of them"
            return (
                f"`{full_key}` is a setting of {group}={', '.join(names)}. Choose {which} as well, "
                f"as in `{group}={example} {full_key}=...`."
            )
    return ""


def _keys_of_choice(group: str, name: str) -> set[str]:
    """Return the full keys of a choice of a group, with those of the files that it includes."""
    file = CONF / group / f"{name}.yaml"
    if not file.is_file():  # an objective without a file of its own
        return set()
    settings = parse_yaml(read_text(file)) or {}
    keys = {f"{group}.{key}" for key in _paths(settings)}
    for included in settings.get("defaults", []):
        if isinstance(included, str) and included != "_self_":
            keys |= _keys_of_choice(group, included)
    return keys


def _paths(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        yield str(key)
        if isinstance(value, dict):
            yield from (f"{key}.{path}" for path in _paths(value))
