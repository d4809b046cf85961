"""Settings of Hugging Face models: which are known, completed from the data, without any that name
code or places.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.models.huggingface.hub import one_line, quiet

_NOT_KEPT = frozenset(
    {
        "auto_map",
        "custom_pipelines",
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "_experts_implementation",
        "trust_remote_code",
        "dtype",
        "torch_dtype",
        "name_or_path",
        "_name_or_path",
        "_commit_hash",
        "transformers_version",
        "architectures",
    }
)
"""Settings that name code, places or number formats: none of them is part of the architecture."""


def made_config(
    settings: dict[str, Any], where: str, shape: Sequence[int], classes: int | None
) -> Any:
    """The settings as transformers has them.

    Args:
        settings: ``model_type`` and what belongs to it.
        where: they come from, for messages.
        shape: of one input of the data, ``(T,)``.
        classes: entries of the data's vocabulary; where given, sizes that are missing become the
            data's, and unknown settings are refused.

    Raises:
        ConfigError: the architecture is unknown, or its settings do not fit it.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    name = settings.get("model_type")
    if not isinstance(name, str) or name not in KNOWN:
        near = closest(str(name), KNOWN)
        raise ConfigError(
            f"{where}: transformers has no causal language model of model_type {name!r}."
            + (f" Did you mean {near}?" if near else "")
        )
    if settings.get("quantization_config"):
        raise ConfigError(
            f"{where}: its weights are quantised; limbeck needs a model with all their digits."
        )
    settings = {key: value for key, value in kept(settings).items() if key != "model_type"}
    try:
        with quiet():
            kind = CONFIG_MAPPING[name]
            if classes is not None:
                settings = _completed(settings, kind, where, shape[0], classes)
            return kind.from_dict(settings)
    except LimbeckError:
        raise
    except Exception as error:  # each architecture checks its settings in its own way
        raise ConfigError(
            f"{where}: transformers cannot read these settings ({one_line(error)})."
        ) from None


def _completed(
    settings: dict[str, Any], kind: Any, where: str, length: int, classes: int
) -> dict[str, Any]:
    """Settings with the sizes of the data where they are missing."""
    usual, alias = kind().to_dict(), dict(kind.attribute_map)
    for key in settings:
        if key not in usual and key not in alias:
            near = closest(key, [*usual, *alias])
            raise ConfigError(
                f"{where}: unknown setting {key}." + (f" Did you mean {near}?" if near else "")
            )
    found = {alias.get(key, key) for key in settings}
    sizes = {"vocab_size": classes, "max_position_embeddings": length}
    new = {
        alias.get(key, key): size for key, size in sizes.items() if alias.get(key, key) not in found
    }
    new = {key: size for key, size in new.items() if key in usual}
    # Where the default is a token of the library's own vocabulary, there is none here.
    marks = [key for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key not in settings]
    return (
        settings
        | new
        | {key: None for key in marks if isinstance(usual.get(key), int) and usual[key] >= classes}
    )


def kept(settings: Any) -> Any:
    """Settings without those that name code or places, at any depth, as JSON would have them."""
    if isinstance(settings, Mapping):
        return {str(key): kept(value) for key, value in settings.items() if key not in _NOT_KEPT}
    if isinstance(settings, (list, tuple)):
        return [kept(value) for value in settings]
    return settings


def check_sizes(config: Any, where: str, length: int, classes: int) -> int | None:
    """The model's positions, None where there is no bound.

    Raises:
        ConfigError: they, or the vocabulary, are fewer than the data's.
    """
    text = config.get_text_config()
    size, positions = text.vocab_size, getattr(text, "max_position_embeddings", None)
    if size < classes:
        raise ConfigError(
            f"{where}: the model's vocabulary has {size} entries, the data's {classes}. Read the "
            "data with the model's "
            "own tokenizer (data.tokenizer=FOLDER), or take another model."
        )
    if isinstance(positions, int) and positions < length:
        raise ConfigError(
            f"{where}: a block of {length} tokens is longer than the model's {positions} "
            "positions. Choose "
            f"data.block={positions} or less, or another model."
        )
    return positions if isinstance(positions, int) else None
