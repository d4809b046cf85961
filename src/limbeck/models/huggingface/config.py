"""Settings of Hugging Face models: checks, sizes from the data, and removal of code and paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.huggingface.hub import one_line, quiet
from limbeck.models.huggingface.pretrained import CAUSAL_LM, ENCODER, TEXT_CLASSIFICATION

_NOT_ARCHITECTURE = frozenset(
    {
        "auto_map",
        "custom_pipelines",
        "attn_implementation",
        "experts_implementation",
        "trust_remote_code",
        "dtype",
        "torch_dtype",
        "name_or_path",
        "transformers_version",
        "architectures",
        "use_pretrained_backbone",
    }
)
"""Settings that name code, paths or number formats and do not belong to the architecture.

Settings that start with an underscore do not, either: transformers keeps its own notes in them.
"""


@dataclass(frozen=True)
class Task:
    """A task of models of transformers.

    Attributes:
        noun: Name of a model for the task.
        example: Types of such models.
        types: Name of the table of transformers with all types.
    """

    noun: str
    example: str
    types: str

    def model_types(self) -> Mapping[str, Any]:
        """Return the names of networks for the task, by ``model_type``."""
        tables = import_module("transformers.models.auto.modeling_auto")
        types: Mapping[str, Any] = getattr(tables, self.types)
        return types


TASKS = {
    CAUSAL_LM: Task("causal language model", "gpt2 or llama", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
    ENCODER: Task("encoder", "bert or mpnet", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"),
    TEXT_CLASSIFICATION: Task(
        "classifier of texts",
        "bert or distilbert",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    ),
}
"""Tasks by the class of transformers that builds their networks."""


def make_config(
    settings: dict[str, Any],
    where: str,
    sizes: Mapping[str, int] | None = None,
    *,
    kind: str = CAUSAL_LM,
) -> Any:
    """Create the configuration object of transformers.

    Args:
        settings: Settings with ``model_type``.
        where: Origin of the settings, for messages.
        sizes: Sizes of the data for a new model, such as ``vocab_size``, which replace missing
            settings; unknown settings are then refused. None for a model with weights.
        kind: Class of transformers for the task.

    Raises:
        ConfigError: If the architecture is unknown, or its settings do not fit it.
    """
    from transformers import CONFIG_MAPPING

    task, name = TASKS[kind], settings.get("model_type")
    types = task.model_types()
    if not isinstance(name, str) or name not in types:
        hint = did_you_mean(str(name), types)
        if isinstance(name, str) and name in CONFIG_MAPPING:
            hint = f" Models of this type do other tasks. Choose another, such as {task.example}."
        raise ConfigError(f"{where}: transformers has no {task.noun} of model_type {name!r}.{hint}")
    if settings.get("quantization_config"):
        raise ConfigError(f"{where}: the weights are quantised. Choose a model that is not.")
    settings = architecture_settings(settings)
    del settings["model_type"]
    try:
        with quiet():
            config_class = CONFIG_MAPPING[name]
            if sizes is not None:
                settings = _add_sizes(settings, config_class, where, sizes)
            return config_class.from_dict(settings)
    except LimbeckError:
        raise
    except Exception as error:  # each architecture checks its settings in its own way
        raise ConfigError(
            f"{where}: transformers cannot read these settings ({one_line(error)})."
        ) from None


def _add_sizes(
    settings: dict[str, Any], config_class: Any, where: str, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Add the sizes of the data to settings that lack them."""
    defaults, alias = config_class().to_dict(), dict(config_class.attribute_map)
    for key in settings:
        if key not in defaults and key not in alias:
            hint = did_you_mean(key, [*defaults, *alias])
            raise ConfigError(f"{where}: unknown setting {key}.{hint}")
    result = dict(settings)
    names = {alias.get(key, key) for key in settings}
    for size, value in sizes.items():
        name = alias.get(size, size)
        if name in defaults and name not in names:
            result[name] = value
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        default = defaults.get(key)
        # the default may be a token beyond the data's vocabulary
        if key not in result and isinstance(default, int) and default >= sizes["vocab_size"]:
            result[key] = None
    return result


def settings_of(config: Any) -> dict[str, Any]:
    """Return the settings from which a network is rebuilt.

    Settings that its architecture does not know, such as those of another version, are left out.

    Args:
        config: Configuration of transformers.
    """
    names = {*type(config)().to_dict(), *config.attribute_map}
    settings = architecture_settings(config.to_dict())
    return {name: value for name, value in settings.items() if name in names}


def architecture_settings(settings: Any) -> Any:
    """Remove settings that name code or paths, at any depth; the result is plain JSON."""
    if isinstance(settings, Mapping):
        architecture = {}
        for key, value in settings.items():
            if key not in _NOT_ARCHITECTURE and not str(key).startswith("_"):
                architecture[str(key)] = architecture_settings(value)
        return architecture
    if isinstance(settings, (list, tuple)):
        return [architecture_settings(value) for value in settings]
    return settings


def check_sizes(config: Any, where: str, length: int, classes: int) -> int | None:
    """Check positions and vocabulary, and return the number of positions, None if unlimited.

    Raises:
        ConfigError: If the model has fewer positions or a smaller vocabulary than the data.
    """
    text = config.get_text_config()
    size, positions = text.vocab_size, getattr(text, "max_position_embeddings", None)
    if size < classes:
        raise ConfigError(
            f"{where}: the model's vocabulary has {size} entries but the data's has {classes}. "
            "Read the data with the model's own tokenizer (data.tokenizer=FOLDER), or choose "
            "another model."
        )
    if isinstance(positions, int) and positions < length:
        raise ConfigError(
            f"{where}: a block of {length} tokens is longer than the model's {positions} "
            f"positions. Choose data.block={positions} or less, or another model."
        )
    return positions if isinstance(positions, int) else None


def class_names_of(settings: Mapping[str, Any]) -> list[str] | None:
    """Return the names of the classes in a ``config.json``; None if they are only numbered."""
    names = settings.get("id2label")
    if not isinstance(names, Mapping) or not names:
        return None
    ordered = [str(names.get(str(number), "")) for number in range(len(names))]
    is_numbered = all(name == f"LABEL_{number}" for number, name in enumerate(ordered))
    return None if is_numbered or "" in ordered else ordered
