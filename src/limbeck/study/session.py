"""The run folder of a study from its first write to its last."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from limbeck._base.errors import ConfigError, DataError, TeacherError, is_out_of_memory
from limbeck._base.files import write_text
from limbeck.run.folder import RunFolder
from limbeck.run.former_targets import same_settings
from limbeck.run.manifest import ManifestWriter


class TemporaryRunFolder(RunFolder):
    """Folder of a process other than the first, which is removed when the process ends.

    Such processes train along, but what they write is of no use to anybody.

    Args:
        original: Folder of the first process.
        resume: Whether the run is continued, so that its files are needed here too.
    """

    def __init__(self, original: Path, *, resume: bool):
        self._parent = tempfile.TemporaryDirectory(prefix="limbeck-")
        super().__init__(Path(self._parent.name) / "run")
        if resume and original.is_dir():
            unfinished = shutil.ignore_patterns(".*")  # files that are being written
            shutil.copytree(original, self.path, ignore=unfinished)


@contextmanager
def open_run(
    run: RunFolder,
    settings: Mapping[str, Any],
    *,
    recipe: str,
    seeds: Sequence[int],
    facts: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
) -> Iterator[ManifestWriter]:
    """Prepare the folder of a run, and record an error that ends the run.

    Args:
        run: Folder of the run.
        settings: Content of ``config.yaml``.
        recipe: Name of the study.
        seeds: Seeds of the study.
        facts: Further keys of the manifest.
        resume: Whether to continue the run in the folder.
        overwrite: Whether to replace the run in the folder.

    Raises:
        ConfigError: If the folder is taken, or if a resumed run began with other settings.
    """
    run.prepare(resume=resume, overwrite=overwrite)
    text = yaml.safe_dump(dict(settings), sort_keys=False)
    if resume and run.config.is_file() and not _began_with(run, text):
        raise ConfigError(
            f"{run.path}: the settings differ from those in {run.config.name}, with which this run "
            "began. Resume it with the same settings, or start anew with overwrite=true."
        )
    manifest = ManifestWriter(run, recipe=recipe, seeds=seeds, facts=facts)
    out_of_memory = [name for name, why in manifest.failed.items() if is_out_of_memory(why)]
    manifest.remove_failures(out_of_memory)  # there may be more memory now
    write_text(run.config, text)
    try:
        yield manifest
    except (KeyboardInterrupt, SystemExit):
        manifest.finish("interrupted")
        raise
    except BaseException as error:
        manifest.finish("failed", f"{type(error).__name__}: {error}")
        raise


def _began_with(run: RunFolder, text: str) -> bool:
    """Whether ``config.yaml`` holds these settings, perhaps as an earlier version wrote them."""
    try:
        earlier = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return same_settings(earlier, yaml.safe_load(text))


def check_digest(manifest: ManifestWriter, run: RunFolder, name: str, digest: str) -> None:
    """Record a digest in the manifest; a resumed run has to have the same one.

    Raises:
        DataError: If data or inputs differ from those with which the run began.
        TeacherError: If the teacher differs.
    """
    if manifest.add_digest(name, digest) == digest:
        return
    is_data = name.startswith(("data", "inputs"))
    kind = DataError if is_data else TeacherError
    raise kind(
        f"{run.path}: the {name} is not what it was when this run began, so the run cannot be "
        "resumed. Restore it, or start anew with overwrite=true."
    )


def remove_checkpoints(run: RunFolder) -> None:
    """Remove what only a resumed run needs."""
    for file in [*run.checkpoints.glob("*/*.ckpt"), *run.checkpoints.glob("source*.npy")]:
        file.unlink()
    for folder in [*run.checkpoints.glob("*"), run.checkpoints]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
