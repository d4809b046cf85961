"""Pooling of token features to one vector per text, as the folder of a sentence encoder says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.reading import parse_json, read_bytes
from limbeck.models.huggingface.hub import one_line, read_json

MODULES = "modules.json"
POOLINGS = ("mean", "cls", "max", "mean_sqrt_len", "lasttoken")
"""Ways of pooling."""
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""Ways of pooling by the flag in the file of sentence-transformers."""


@dataclass(frozen=True)
class Pooling:
    """How a sentence encoder makes a vector of token features.

    Attributes:
        mode: One of :data:`POOLINGS`.
        normalize: Whether vectors are scaled to length 1.
        encoder: Folder of the encoder inside that of the sentence encoder.
        max_length: Largest number of tokens for which it was made; None if unknown.
    """

    mode: str
    normalize: bool
    encoder: str = ""
    max_length: int | None = None


def is_sentence_encoder(folder: Path) -> bool:
    """Whether a folder is one of sentence-transformers."""
    return (folder / MODULES).is_file()


def read_pooling(folder: Path) -> Pooling:
    """Read how the folder of a sentence encoder pools.

    Args:
        folder: Folder with ``modules.json``.

    Raises:
        ConfigError: If the folder names no pooling, or has modules that limbeck does not know.
        UntrustedFileError: If a file is damaged.
    """
    if not is_sentence_encoder(folder):
        raise ConfigError(
            f"{folder} has no {MODULES}, so it does not say how token features become one vector. "
            "Save it with sentence-transformers, SentenceTransformer(FOLDER).save(OTHER), or "
            "choose another model, such as all-MiniLM-L6-v2."
        )
    mode, normalize, encoder = None, False, ""
    for module in _read_modules(folder):
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = str(module.get("path") or "")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise UntrustedFileError(
                f"{folder / MODULES} names a folder outside of its own: {path}."
            )
        if kind == "Pooling":
            mode = _mode_in(folder / path / "config.json")
        elif kind == "Transformer":
            encoder = path
        elif kind == "Normalize":
            normalize = True
        else:
            raise ConfigError(
                f"{folder / MODULES} has a module {kind}, which limbeck does not read. It reads "
                "Transformer, Pooling and Normalize. Choose a model without others, such as "
                "all-MiniLM-L6-v2."
            )
    if mode is None:
        raise ConfigError(
            f"{folder / MODULES} has no Pooling, so it does not say how token features become one "
            "vector. Save the model with sentence-transformers again."
        )
    return Pooling(mode, normalize, encoder, _max_length_in(folder / encoder))


def _read_modules(folder: Path) -> list[dict[str, Any]]:
    try:
        content = parse_json(read_bytes(folder / MODULES))
    except ValueError as error:
        raise UntrustedFileError(f"{folder / MODULES} is damaged: {one_line(error)}.") from None
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UntrustedFileError(f"{folder / MODULES} should be a list of modules.")
    return content


def _max_length_in(folder: Path) -> int | None:
    """Read the largest number of tokens from the settings of sentence-transformers."""
    file = folder / "sentence_bert_config.json"
    length = read_json(file).get("max_seq_length") if file.is_file() else None
    return length if type(length) is int else None


def _mode_in(file: Path) -> str:
    """Read the way of pooling from the file of a module, of any version."""
    if not file.is_file():
        raise ConfigError(f"{file} is missing; expected the settings of the pooling.")
    settings = read_json(file)
    modes = [mode for flag, mode in _FLAGS.items() if settings.get(flag) is True]
    if "pooling_mode" in settings:
        value = settings["pooling_mode"]
        modes = [str(mode) for mode in (value if isinstance(value, list) else [value])]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        names = " and ".join(modes) or "none"
        raise ConfigError(
            f"{file} asks for pooling by {names}; limbeck knows one of {', '.join(POOLINGS)}."
        )
    return modes[0]


def pool(features: Tensor, mask: Tensor, mode: str) -> Tensor:
    """Pool the features of tokens.

    Args:
        features: Features, ``[B, l, D]``.
        mask: Whether a position has a token, bool ``[B, l]``.
        mode: One of :data:`POOLINGS`.

    Returns:
        ``[B, D]``.
    """
    if mode == "cls":
        return features[:, 0]
    if mode == "max":
        lowest = torch.finfo(features.dtype).min
        return features.masked_fill(~mask[..., None], lowest).amax(1)
    count = mask.sum(1, keepdim=True)
    if mode == "lasttoken":
        return features[torch.arange(len(features), device=features.device), count[:, 0] - 1]
    total = (features * mask[..., None]).sum(1)
    return total / (count.sqrt() if mode == "mean_sqrt_len" else count)
