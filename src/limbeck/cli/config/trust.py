"""What a run folder may ask for: limbeck's own objects, and nothing else.

A run folder may come from somebody else, so its settings are data. They may build the objects in
:data:`BUILDERS`, which run no code that their arguments name. Everything else needs ``--trust`` on
the command line: the user's explicit consent, which no file can give.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck._base.addresses import is_address
from limbeck._base.errors import UntrustedFileError
from limbeck.cli.config.teacher_members import members_of
from limbeck.run.folder import RunFolder

BUILDERS = frozenset(
    {
        "limbeck.data.Affine",
        "limbeck.data.Chain",
        "limbeck.data.Choice",
        "limbeck.data.Crop",
        "limbeck.data.Elastic",
        "limbeck.data.Flip",
        "limbeck.data.ImagesFrom",
        "limbeck.data.Mixup",
        "limbeck.data.NoViews",
        "limbeck.data.Shift",
        "limbeck.data.SparseNoise",
        "limbeck.data.StrokeNoise",
        "limbeck.data.UniformNoise",
        "limbeck.data.aptos",
        "limbeck.data.breast_cancer",
        "limbeck.data.cifar10",
        "limbeck.data.cifar100",
        "limbeck.data.diabetes",
        "limbeck.data.digit_pairs",
        "limbeck.data.digits",
        "limbeck.data.fashion_mnist",
        "limbeck.data.image_csv",
        "limbeck.data.image_folder",
        "limbeck.data.image_table",
        "limbeck.data.mnist",
        "limbeck.data.sentences",
        "limbeck.data.table",
        "limbeck.data.text_csv",
        "limbeck.data.text_file",
        "limbeck.data.text_folder",
        "limbeck.data.text_folders",
        "limbeck.models.BagOfEmbeddings",
        "limbeck.models.Classifier",
        "limbeck.models.ConvNet",
        "limbeck.models.GPT",
        "limbeck.models.Graded",
        "limbeck.models.HuggingFace",
        "limbeck.models.HuggingFaceClassifier",
        "limbeck.models.MLP",
        "limbeck.models.SentenceEncoder",
        "limbeck.models.TextCNN",
        "limbeck.models.TextEncoder",
        "limbeck.models.TimmModel",
        "limbeck.models.TorchvisionModel",
        "limbeck.teacher.boosting.boosted_trees",
        "limbeck.teacher.tfidf.tfidf_classifier",
        "limbeck.training.generator.Generated",
        "limbeck.training.loggers.tensorboard_logger",
    }
)
"""Objects that settings of a run folder may name in ``_target_``.

Each of them treats its arguments as data: as numbers, words, and paths of files that are data
themselves. Functions that read pickles, or send data elsewhere, are not among them.
"""
SPECIAL_KEYS = ("_target_", "_partial_")
LOGGER = "limbeck.training.loggers.tensorboard_logger"
HUB_MODELS = (
    "limbeck.models.HuggingFace",
    "limbeck.models.HuggingFaceClassifier",
    "limbeck.models.SentenceEncoder",
)
TEXT_DATA = (
    "limbeck.data.sentences",
    "limbeck.data.text_file",
    "limbeck.data.text_folder",
)
_ADDRESS_KEYS = {"data": ("root", "path"), "teacher": ("from", "answers"), "store": ("folder",)}
"""Settings that may be addresses, by section."""
MAX_PARTS = 3
"""Maximum number of parts that a message names."""
_CACHE_ENTRY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Trust:
    """Whether the user trusts a run folder.

    Attributes:
        is_given: Whether ``--trust`` is on the command line.
        command: The same command with ``--trust``, for messages.
    """

    is_given: bool = False
    command: str = "the same command with --trust"

    def check(self, run: Path, settings: Mapping[str, Any], own_views: Collection[str]) -> None:
        """Check that a run folder asks for nothing that could run code, unless it is trusted.

        Args:
            run: Run folder.
            settings: Settings that will be used.
            own_views: Names of limbeck's own views.

        Raises:
            UntrustedFileError: If it does. The message names what it asks for.
        """
        self._refuse(run, [*foreign_settings(settings, run, own_views), *foreign_links(run)])

    def check_links(self, run: Path) -> None:
        """Check that no link in a run folder leads out of it, unless the folder is trusted.

        Raises:
            UntrustedFileError: If one does.
        """
        self._refuse(run, list(foreign_links(run)))

    def require(self, run: Path, part: str) -> None:
        """Check that a run folder is trusted, since a part of it needs that.

        Args:
            run: Run folder.
            part: Part of the run that needs it.

        Raises:
            UntrustedFileError: If it is not.
        """
        self._refuse(run, [part])

    def _refuse(self, run: Path, parts: Sequence[str]) -> None:
        if self.is_given or not parts:
            return
        names = ", ".join(parts[:MAX_PARTS])
        if len(parts) > MAX_PARTS:
            names += f" and {len(parts) - MAX_PARTS} more"
        raise UntrustedFileError(
            f"{run} asks for something that is not limbeck's own: {names}. A run folder may come "
            f"from somebody else, so it needs your permission. If you trust it: {self.command}"
        )


def foreign_settings(
    settings: Mapping[str, Any], run: Path, own_views: Collection[str]
) -> Iterator[str]:
    """Yield the settings of a run that need the trust of the user.

    Args:
        settings: Settings of the run, or some sections of them.
        run: Run folder.
        own_views: Names of limbeck's own views.
    """
    yield from _foreign_values(settings, "")
    for arm, differences in (settings.get("arms") or {}).items():
        views = (differences or {}).get("views")
        if isinstance(views, str) and views not in own_views:
            yield f"arms.{arm}.views={views}"
    teacher = settings.get("teacher")
    for number, section in enumerate([teacher or {}, *members_of(teacher)]):
        views = section.get("views") if isinstance(section, Mapping) else None
        if isinstance(views, str) and views not in own_views:
            where = f".members[{number - 1}]" if number else ""
            yield f"teacher{where}.views={views}"
    for section, key in (("store", "folder"), ("data", "cache")):
        folder = (settings.get(section) or {}).get(key)
        if not isinstance(folder, str) or is_address(folder):
            continue
        if not _may_hold_cache(Path(folder).expanduser(), run):
            yield f"{section}.{key}={folder}, a folder that is no cache of limbeck yet"
    for section, keys in _ADDRESS_KEYS.items():
        for key in keys:
            for where, address in _addresses((settings.get(section) or {}).get(key)):
                name = f"{section}.{key}{where}={address}"
                yield f"{name}, which may be read over the network"
    if (settings.get("data") or {}).get("_target_") in TEXT_DATA:
        sources = (settings.get("teacher") or {}).get("from") or []
        for source in [sources] if isinstance(sources, str) else sources:
            if not _exists(source):
                yield f"teacher.from={source}, which may be a model on the hub"


def _addresses(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the addresses in a value, and where they are in it."""
    if isinstance(value, str) and is_address(value):
        yield path, value
    elif isinstance(value, Mapping):
        yield from _addresses(value.get("from"), f"{path}.from")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _addresses(item, f"{path}[{number}]")


def _foreign_values(value: Any, path: str) -> Iterator[str]:
    """Yield the values at any depth that name objects, run code or read other values."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _foreign_values(item, f"{path}[{number}]")
    elif isinstance(value, Mapping):
        if value.get("_target_") == LOGGER:
            yield from _foreign_logger(value, path)
        yield from _downloads(value, path)
        for key, item in value.items():
            where = f"{path}.{key}" if path else str(key)
            if _is_foreign(str(key), item) or _is_inner_cache(where, item):
                yield f"{where}={item}"
            else:
                yield from _foreign_values(item, where)
    elif isinstance(value, str) and "${" in value:
        yield f"{path}={value}"


def _is_foreign(key: str, value: Any) -> bool:
    if key == "_target_":
        return value not in BUILDERS if isinstance(value, str) else True
    if key == "trust_pickle":
        return value is not False
    # the settings of transformers may contain names such as _name_or_path, which are not used
    is_of_hydra = key.startswith("_") and key.endswith("_")
    return is_of_hydra and key not in SPECIAL_KEYS


def _is_inner_cache(path: str, value: Any) -> bool:
    """Whether an object inside the dataset, or elsewhere, names a folder for its cache."""
    return path.endswith(".cache") and path != "data.cache" and value is not None


def _downloads(settings: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the settings of an object that would download files."""
    if settings.get("pretrained"):
        yield f"{path}.pretrained=true"
    if settings.get("download") and not _has_files(settings.get("root", "data")):
        yield f"{path}.download=true"
    name = settings.get("path")
    if settings.get("_target_") in HUB_MODELS and name is not None and not _exists(name):
        yield f"{path}.path={name}, which may be a model on the hub"


def _foreign_logger(logger: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the options of a logger that could name a folder outside the run."""
    for key, value in logger.items():
        if key in SPECIAL_KEYS or value is None or isinstance(value, (bool, int)):
            continue
        is_name = key in ("name", "version", "prefix") and isinstance(value, str)
        if not is_name or "/" in value or "\\" in value or ".." in value:
            yield f"{path}.{key}={value}"


def _may_hold_cache(folder: Path, run: Path) -> bool:
    """Whether a cache may be written to a folder.

    It is in the run folder, or a cache already, or will be a new folder in the working directory,
    as that of a run that was interrupted before it stored anything.
    """
    path = folder.resolve()
    if path.is_relative_to(run.resolve()):
        return True
    if folder.is_dir():
        names = [entry.name for entry in folder.iterdir()]
        if names:
            return any(_CACHE_ENTRY.match(name) for name in names)
    elif folder.exists() or folder.is_symlink():
        return False
    if not path.is_relative_to(Path.cwd()):
        return False
    return not any(part.startswith(".") for part in path.relative_to(Path.cwd()).parts)


def _exists(path: Any) -> bool:
    return isinstance(path, str) and Path(path).exists()


def _has_files(folder: Any) -> bool:
    return isinstance(folder, str) and Path(folder).is_dir() and any(Path(folder).iterdir())


def foreign_links(run: Path) -> Iterator[str]:
    """Yield the first links in a run folder that lead out of it, and so to files of others."""
    for path in islice(RunFolder(run).links_outside(), MAX_PARTS):
        yield f"the link {path.relative_to(run)}"
