"""Folders of Hugging Face models, local or downloaded: settings, safetensors, tokenizer.

Code is never loaded.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError, ResourceError, UntrustedFileError
from limbeck._base.reading import parse_json, read_bytes
from limbeck._base.runtime.tokenizer_limits import largest_id
from limbeck._base.tokenizer_calls import call_tokenizer
from limbeck.models.files.shards import INDEX, check_header, is_index, parts_of
from limbeck.models.files.state_dict import read_pickled

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
ADAPTER = "adapter_config.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files of weights in the format of before safetensors."""
MAX_TOKEN_ID = 1 << 26
REACH_SECONDS = 5.0
"""Timeout of the first request to the hub, in seconds."""
_DOWNLOADS = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "model.safetensors",
    "model-*.safetensors",
    INDEX,
]
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def require_transformers() -> None:
    """Check that transformers is installed.

    Raises:
        ConfigError: If it is not.
    """
    if find_spec("transformers") is None:
        raise ConfigError(
            "A Hugging Face model needs the package transformers: pip install 'limbeck[hf]'."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and log messages."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def find_folder(path: str | Path) -> Path:
    """Find a local model folder, or download the model of that name from the hub.

    Raises:
        ConfigError: If there is no such folder, and no model of that name on the hub.
        ResourceError: If the hub cannot be reached.
        UntrustedFileError: If the list of its parts is damaged.
    """
    folder = Path(str(path))
    if not folder.is_dir():
        if folder.exists():
            raise ConfigError(
                f"{path} is a file. Choose a folder written by save_pretrained, or a model on the "
                "hub."
            )
        if not _NAME.fullmatch(str(path)):
            raise ConfigError(
                f"{path} does not exist. Choose a folder written by save_pretrained, or a model on "
                "the hub."
            )
        folder = _download(str(path))
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"{folder} contains no {CONFIG}; expected a folder written by save_pretrained."
        )
    _check_weights(folder)
    return folder


def _download(name: str) -> Path:
    """Download a model into the hub's cache and return its folder.

    A short request tests whether the hub can be reached. If not, the local cache is used.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=REACH_SECONDS)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ConfigError(
            f"{name} is not a local folder, and the hub has no model of that name, or requires a "
            f"login ({one_line(error)})."
        ) from None
    except Exception as error:  # the hub's client may raise anything without a network
        try:
            return Path(snapshot_download(name, allow_patterns=_DOWNLOADS, local_files_only=True))
        except Exception:  # it may raise anything if the model is not in the cache
            raise _no_download(name, error) from None
    try:
        return Path(snapshot_download(name, allow_patterns=_DOWNLOADS))
    except Exception as error:  # the hub's client may raise anything
        raise _no_download(name, error) from None


def _no_download(name: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"{name} is not a local folder and could not be downloaded from the hub "
        f"({one_line(error)}). Check the network, or choose a local folder written by "
        "save_pretrained."
    )


def _check_weights(folder: Path) -> None:
    """Check that a folder's weights are inside it, and no addition to others."""
    if (folder / ADAPTER).exists():
        raise ConfigError(
            f"{folder} contains an adapter ({ADAPTER}), whose weights belong to another model. "
            "Merge them (merge_and_unload) and save the model with save_pretrained."
        )
    if (folder / "model.safetensors").is_file():
        return
    if (folder / INDEX).is_file():
        parts_of(folder / INDEX)
        return
    if pickled_weights(folder) is not None:
        return
    raise ConfigError(
        f"{folder} contains no model.safetensors; expected a folder written by save_pretrained."
    )


def pickled_weights(folder: Path) -> Path | None:
    """Return the file of ``torch.save`` with a folder's weights, or the index of several.

    Returns:
        None if there is none, or if there are safetensors as well.
    """
    if any((folder / name).is_file() for name in ("model.safetensors", INDEX)):
        return None
    for name in PICKLED:
        if (folder / name).is_file():
            return folder / name
    return None


def read_pickled_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of ``torch.save``, or of all parts that an index lists.

    Raises:
        TeacherError: If there are none.
        UntrustedFileError: If a file is damaged, or of another kind.
    """
    weights: dict[str, Tensor] = {}
    for part in parts_of(file) if is_index(file) else [file]:
        content = read_pickled(part)
        assert isinstance(content, dict)  # a module would be code
        weights |= content
    return weights


def read_shapes(folder: Path) -> dict[str, list[int]]:
    """Read the names and shapes of the weights in a folder, without the weights.

    Raises:
        UntrustedFileError: If a file is damaged.
    """
    files = [folder / "model.safetensors"]
    if not files[0].is_file():
        files = parts_of(folder / INDEX)
    shapes = {}
    for file in files:
        check_header(file)
        try:
            with safe_open(file, framework="numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 - it is no mapping
                    shapes[name] = weights.get_slice(name).get_shape()
        except Exception as error:  # safetensors may raise anything on a damaged file
            raise UntrustedFileError(
                f"{folder}: its weights are damaged or cannot be read ({one_line(error)})."
            ) from None
    return shapes


def read_json(file: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        UntrustedFileError: If it is damaged, too large, or not an object.
    """
    try:
        content = parse_json(read_bytes(file))
    except ValueError as error:
        raise UntrustedFileError(f"{file} is damaged: {one_line(error)}.") from None
    if not isinstance(content, dict):
        raise UntrustedFileError(
            f"{file} should contain settings by name, found a {type(content).__name__}."
        )
    return content


def read_vocabulary(file: Path) -> list[str]:
    """Read the tokens of a ``tokenizer.json`` by id; an id without a token is ``<unused ID>``.

    Raises:
        UntrustedFileError: If the file is damaged or too large.
    """
    content = read_json(file)
    if largest_id(content) > MAX_TOKEN_ID:
        raise UntrustedFileError(f"{file} is damaged: it has a token of id {largest_id(content)}.")
    text = json.dumps(content)
    from tokenizers import Tokenizer

    def load() -> dict[str, int]:
        return Tokenizer.from_str(text).get_vocab(with_added_tokens=True)

    try:
        ids = call_tokenizer(load, len(text), str(file))
    except DataError as error:
        raise UntrustedFileError(str(error)) from None
    names = [f"<unused {number}>" for number in range(max(ids.values(), default=-1) + 1)]
    for name, number in ids.items():
        names[number] = name
    return names


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
