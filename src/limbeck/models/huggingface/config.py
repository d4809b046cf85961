"""Settings of Hugging Face models: checks, sizes from the data, and removal of code and paths."""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.huggingface.hub import one_line, quiet

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


def make_config(
    settings: dict[str, Any], where: str, shape: Sequence[int], classes: int | None
) -> Any:
    """Create the configuration object of transformers.

    Args:
        settings: Settings with ``model_type``.
        where: Origin of the settings, for messages.
        shape: Shape of one input of the data, ``(T,)``.
        classes: Size of the data's vocabulary for a new model, for which missing sizes are taken
            from the data and unknown settings are refused. None for a model with weights.

    Raises:
        ConfigError: If the architecture is unknown, or its settings do not fit it.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = settings.get("model_type")
    if not isinstance(name, str) or name not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        hint = did_you_mean(str(name), MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        if isinstance(name, str) and name in CONFIG_MAPPING:
            hint = " Models of this type do other tasks. Choose another, such as gpt2 or llama."
        raise ConfigError(
            f"{where}: transformers has no causal language model of model_type {name!r}.{hint}"
        )
    if settings.get("quantization_config"):
        raise ConfigError(f"{where}: the weights are quantised. Choose a model that is not.")
    settings = architecture_settings(settings)
    del settings["model_type"]
    try:
        with quiet():
            kind = CONFIG_MAPPING[name]
            if classes is not None:
                settings = _add_data_sizes(settings, kind, where, shape[0], classes)
            return kind.from_dict(settings)
    except LimbeckError:
        raise
    except Exception as error:  # each architecture checks its settings in its own way
        raise ConfigError(
            f"{where}: transformers cannot read these settings ({one_line(error)})."
        ) from None


def _add_data_sizes(
    settings: dict[str, Any], kind: Any, where: str, length: int, classes: int
) -> dict[str, Any]:
    """Add the sizes of the data to settings that lack them."""
    defaults, alias = kind().to_dict(), dict(kind.attribute_map)
    for key in settings:
        if key not in defaults and key not in alias:
            hint = did_you_mean(key, [*defaults, *alias])
            raise ConfigError(f"{where}: unknown setting {key}.{hint}")
    result = dict(settings)
    names = {alias.get(key, key) for key in settings}
    for size, value in (("vocab_size", classes), ("max_position_embeddings", length)):
        name = alias.get(size, size)
        if name in defaults and name not in names:
            result[name] = value
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        default = defaults.get(key)
        # the default may be a token beyond the data's vocabulary
        if key not in settings and isinstance(default, int) and default >= classes:
            result[key] = None
    return result


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
