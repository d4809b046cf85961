"""Folders of Hugging Face models: on the disk, or fetched by name; settings, safetensors and
tokenizer, never code.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck.models.files.state_dict import is_pickle

CONFIG = "config.json"
LARGEST_TEXT = 64 << 20
"""Bytes of a file of settings or of a tokenizer."""
REACH_SECONDS = 5.0
_FETCHED = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
]
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_PART = re.compile(r"[\w.-]+\.safetensors")


def require_transformers() -> None:
    """Check that transformers is installed.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("transformers") is None:
        raise ConfigError(
            "A Hugging Face model needs the package transformers: pip install 'limbeck[hf]'."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and remarks back."""
    from transformers.utils import logging as theirs

    bars, level = theirs.is_progress_bar_enabled(), theirs.get_verbosity()
    theirs.disable_progress_bar()
    theirs.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


def find_folder(path: str | Path) -> Path:
    """The folder of a model: the one on the disk, or what is fetched of the one on the hub by that
    name.

    Raises:
        ConfigError: there is no such folder, and no model of that name on the hub.
        ResourceError: the hub cannot be reached.
        UntrustedFileError: its weights are pickled.
    """
    folder = Path(str(path))
    if not folder.is_dir():
        if folder.exists():
            raise ConfigError(
                f"{path} is a file; name the folder that save_pretrained made, or a model of the "
                "hub."
            )
        if not _NAME.fullmatch(str(path)):
            raise ConfigError(
                f"{path} does not exist. Name a folder that save_pretrained made, or a model of "
                "the hub."
            )
        folder = _fetched(str(path))
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"{folder} holds no {CONFIG}; a folder that save_pretrained made was expected."
        )
    _check_weights(folder)
    return folder


def _fetched(name: str) -> Path:
    """The folder in the hub's cache; the network is asked once and briefly before anything waits
    for it.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=REACH_SECONDS)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ConfigError(
            f"{name} is no folder here, and the hub gives no model of that name: it has none, or "
            "asks for a login "
            f"({one_line(error)})."
        ) from None
    except Exception as error:  # whatever the hub's client raises without a network
        try:
            return Path(snapshot_download(name, allow_patterns=_FETCHED, local_files_only=True))
        except Exception:  # whatever it raises where nothing was fetched before
            raise _not_fetched(name, error) from None
    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except Exception as error:  # as above
        raise _not_fetched(name, error) from None


def _not_fetched(name: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"{name} is no folder here and could not be fetched from the hub ({one_line(error)}). "
        "Check the network, or "
        "name a local folder that save_pretrained made."
    )


def _check_weights(folder: Path) -> None:
    """Check that a folder's weights are safetensors, and within it."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return
    if index.is_file():
        parts = read_json(index).get("weight_map")
        names = set(parts.values()) if isinstance(parts, dict) else {None}
        for name in names:
            if not isinstance(name, str) or not _PART.fullmatch(name):
                raise UntrustedFileError(
                    f"{index} names the file {name!r}; a .safetensors beside it was expected."
                )
            if not (folder / name).is_file():
                raise ConfigError(
                    f"{folder} lacks {name}, which {index.name} names; its copy is not complete."
                )
        return
    pickled = sorted(file.name for file in folder.glob("*.bin") if is_pickle(file))
    if pickled:
        raise UntrustedFileError(
            f"{folder} has its weights in {pickled[0]}, a pickle: reading it could run code, so "
            "limbeck does not. "
            "Convert it where you trust it: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER)."
        )
    raise ConfigError(
        f"{folder} holds no model.safetensors; a folder that save_pretrained made was expected."
    )


def read_json(file: Path) -> dict[str, Any]:
    """A file of settings.

    Raises:
        UntrustedFileError: it is damaged, too large, or holds something else.
    """
    if file.stat().st_size > LARGEST_TEXT:
        raise UntrustedFileError(
            f"{file} has over {LARGEST_TEXT >> 20} MiB, too many for settings."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UntrustedFileError(f"{file} is damaged: {one_line(error)}.") from None
    if not isinstance(content, dict):
        raise UntrustedFileError(
            f"{file} should hold settings by name, found a {type(content).__name__}."
        )
    return content


def read_vocabulary(file: Path) -> list[str]:
    """The strings of a ``tokenizer.json``'s tokens by id; an id without a token is ``<unused ID>``.

    Raises:
        UntrustedFileError: the file is damaged, or too large.
    """
    read_json(file)
    from tokenizers import Tokenizer

    try:
        ids = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises no narrower class
        raise UntrustedFileError(
            f"{file} is damaged, or no tokenizer ({one_line(error)})."
        ) from None
    if ids and max(ids.values()) > LARGEST_TEXT:
        raise UntrustedFileError(f"{file} is damaged: it has a token of id {max(ids.values())}.")
    names = [f"<unused {number}>" for number in range(max(ids.values(), default=-1) + 1)]
    for name, number in ids.items():
        names[number] = name
    return names


def one_line(error: Exception) -> str:
    """An error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
