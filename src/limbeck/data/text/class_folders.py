"""Texts in files, with one folder per class."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.checks import absolute, join_some, require_folder, subfolders
from limbeck.data.class_names import normal_name
from limbeck.data.dataset import Dataset
from limbeck.data.parts import PARTS, TRAIN
from limbeck.data.tables.labels import LabelColumn
from limbeck.data.tables.targets import read_targets
from limbeck.data.text.files import check_patterns, keeps_in_memory, matching_files, read_files
from limbeck.data.text.samples import TextSampleOptions, TextSamples, build_text_dataset
from limbeck.data.text.text_list import TextList
from limbeck.data.text.tokenizer import Tokenizer


def text_folders(
    root: str | Path,
    *,
    pattern: str | Iterable[str] = ("*.txt", "*.txt.gz"),
    class_names: Sequence[str] | None = None,
    tokenizer: str | Path | Tokenizer = "bpe",
    vocabulary: int = 8192,
    length: int = 128,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    cache: str | Path | None = None,
    in_memory: bool | None = None,
    name: str | None = None,
) -> Dataset:
    """Load texts from one folder per class; each file is a text, and a folder's name its class.

    The class folders may be in folders ``train``, ``val`` and ``test``. If ``val`` or ``test`` is
    missing, it is cut from ``train``. The other arguments and the result are those of
    :func:`text_csv`.

    Args:
        root: Folder of the class folders. Hidden files are skipped.
        pattern: Pattern of the file names to read, or several.
        class_names: Names of the class folders in their order; None to sort them by name.
        name: Name for tables and messages; None for the name of the folder.

    Raises:
        ConfigError: If a setting is out of range, or if a package is missing.
        DataError: If folders or files are not as expected (each bad file is named).

    Warns:
        LimbeckWarning: As for :func:`text_csv`.
    """
    folder = require_folder(str(root))
    options = TextSampleOptions(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        length=length,
        val=val,
        test=test,
        split_seed=split_seed,
        cache=cache,
        in_memory=in_memory,
        name=name or absolute(folder).name,
    )
    patterns = check_patterns(pattern)
    files: list[Path] = []
    parts: list[int] = []
    column = LabelColumn(folder, "of class folders")
    for part, class_folder in _class_folders(folder):
        for file in matching_files(class_folder, patterns):
            files.append(file)
            parts.append(part)
            column.add(normal_name(class_folder.name), str(file.relative_to(folder)))
    contents = read_files(files, folder, in_memory=keeps_in_memory(files, in_memory))
    texts = TextList(in_memory=in_memory)
    for file in files:
        texts.append((contents[file].read(0, contents[file].size).decode(),))
    targets = read_targets([column], class_names, "classes")
    ids = [file.relative_to(folder).as_posix() for file in files]
    samples = TextSamples(folder, texts, targets, parts, ids, [])
    return build_text_dataset(samples, options)


def _class_folders(root: Path) -> Iterator[tuple[int, Path]]:
    """Yield the class folders with the number of their split; without splits, that of training."""
    folders = subfolders(root)
    if "train" not in folders or not subfolders(folders["train"]):
        if len(folders) < 2:
            raise DataError(
                f"{root} should contain a folder of texts for each of at least two classes, but "
                f"contains {join_some(list(folders)) or 'no folder'}."
            )
        for folder in folders.values():
            yield TRAIN, folder
        return
    unknown = sorted(folders.keys() - PARTS.keys())
    if unknown:
        raise DataError(
            f"{root}: {join_some(unknown)} next to train. Splits are called {', '.join(PARTS)}, "
            "and contain the class folders."
        )
    for name, split in folders.items():
        for folder in subfolders(split).values():
            yield PARTS[name], folder
