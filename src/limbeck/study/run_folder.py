"""Opening, checking and cleaning up of the run folder of a study."""

import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from limbeck._base.addresses import path_of
from limbeck._base.errors import ConfigError, DataError, TeacherError, is_out_of_memory
from limbeck._base.files import write_text
from limbeck._base.reading import parse_yaml
from limbeck._base.scratch import scratch_folder
from limbeck._base.signals import check_interrupt, defer_interrupts, received_signal
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.run.remote import new_run_folder
from limbeck.run.settings import check_same_settings
from limbeck.store.settings import StoreSettings
from limbeck.study.options import RunOptions, Schedule
from limbeck.study.saved_models import record_models_of_earlier_version
from limbeck.teacher.answer_files.read import Answers
from limbeck.training.cohort.shards import SUFFIX, remove_shards
from limbeck.training.optimizer import Optimizer


class TemporaryRunFolder(RunFolder):
    """Run folder of a process other than the first, removed when the process ends.

    Such a process takes part in the training, but its files are not needed afterwards.

    Args:
        original: Run folder of the first process.
        options: Options of the run. If it is resumed, its files are copied.

    Raises:
        ConfigError: If a run that is resumed on several machines is not on this one.
    """

    def __init__(self, original: Path, options: RunOptions):
        is_there = original.is_dir()
        if options.resume and not is_there and options.trainer.get("num_nodes", 1) != 1:
            raise ConfigError(
                f"{original} is not on this machine. To resume a run on several machines, put its "
                "folder on a disk that they share (out=DIR)."
            )
        self._stack = ExitStack()
        super().__init__(self._stack.enter_context(scratch_folder()) / "run")
        weakref.finalize(self, self._stack.close)
        if options.resume and is_there:
            # temporary files of writes in progress; checkpoints are read where they are
            unneeded = shutil.ignore_patterns(".*", "*.ckpt", f"*{SUFFIX}")
            shutil.copytree(original, self.path, ignore=unneeded)


def study_folder(out: str | Path, rank: int, options: RunOptions) -> RunFolder:
    """Return the run folder of a study in this process.

    Args:
        out: Path or address of the run.
        rank: Number of the process among those that train together.
        options: Options of the run.

    Raises:
        ConfigError: If other files are at the address, or several machines would write there.
        ResourceError: If the address cannot be reached.
    """
    if path_of(out) is None and options.trainer.get("num_nodes", 1) != 1:
        raise ConfigError(
            f"out={out}: processes on several machines need a run folder on a disk that they "
            "share. Choose one with out=DIR, and copy the finished run."
        )
    folder = new_run_folder(out, resume=options.resume, is_first=rank == 0)
    if rank > 0:
        return TemporaryRunFolder(folder, options)
    return RunFolder(folder, follow_links=options.follow_links)


@contextmanager
def open_run(
    run: RunFolder, settings: Mapping[str, Any], seeds: Sequence[int], options: RunOptions
) -> Iterator[ManifestWriter]:
    """Claim the folder of a run, and record any error that ends the run in its manifest.

    Args:
        run: Folder of the run.
        settings: Content of ``config.yaml``.
        seeds: Seeds of the study.
        options: Options of the run.

    Raises:
        ConfigError: If the folder is in use, or a resumed run was started with other settings.
    """
    try:
        text = yaml.safe_dump(dict(settings), sort_keys=False)
    except yaml.YAMLError as error:
        raise ConfigError(f"The settings cannot be written to {run.config}: {error}.") from None
    with (
        defer_interrupts(),
        run.claim(resume=options.resume, overwrite=options.overwrite),
    ):
        if options.resume and run.config.is_file():
            check_same_settings(run, parse_yaml(text), _defaults())
        manifest = ManifestWriter(run, recipe=options.name, seeds=seeds, facts=options.facts)
        out_of_memory = [name for name, why in manifest.failed.items() if is_out_of_memory(why)]
        manifest.remove_failures(out_of_memory)  # retry: more memory may be available now
        write_text(run.config, text)
        record_models_of_earlier_version(run, manifest)
        manifest.add_files([run.config])
        try:
            check_interrupt()
            yield manifest
        except BaseException as error:
            _record_error(manifest, error)
            raise


def _record_error(manifest: ManifestWriter, error: BaseException) -> None:
    """Record the error that ended a run, unless the disk is full."""
    with suppress(OSError):
        is_interrupt = isinstance(error, (KeyboardInterrupt, SystemExit))
        if is_interrupt or received_signal() is not None:
            manifest.finish("interrupted")
        else:
            manifest.finish("failed", f"{type(error).__name__}: {error}")


def _defaults() -> dict[str, dict[str, Any]]:
    """Defaults of the settings of a study, which runs of earlier versions may lack."""
    records = {
        "": (Schedule, RunOptions),
        "objective": (Objective,),
        "optimizer": (Optimizer,),
        "store": (StoreSettings,),
        "transfer": (TransferSet,),
        "teacher": (Answers,),
    }
    defaults: dict[str, dict[str, Any]] = {
        section: {
            item.name: list(item.default) if isinstance(item.default, tuple) else item.default
            for kind in kinds
            for item in fields(kind)
            if item.default is not MISSING
        }
        for section, kinds in records.items()
    }
    defaults["data"] = {"class_order": "text"}  # of images, before there was another order
    return defaults


def check_digest(
    manifest: ManifestWriter, run: RunFolder, name: str, digest: str, hint: str = ""
) -> None:
    """Record a digest in the manifest, or compare it with the one recorded there.

    Args:
        manifest: Manifest of the run.
        run: Folder of the run.
        name: Name of what has the digest.
        digest: Digest in hexadecimal.
        hint: Further sentence of the message.

    Raises:
        DataError: If the dataset or generated inputs have changed since the run was started.
        TeacherError: If the teacher has changed.
    """
    if manifest.add_digest(name, digest) == digest:
        return
    is_data = name.startswith(("data", "inputs"))
    error_class = DataError if is_data else TeacherError
    raise error_class(
        f"{run.path}: the {name} has changed since this run was started, so the run cannot be "
        f"resumed. Restore it, or start over with overwrite=true.{hint}"
    )


def remove_checkpoints(run: RunFolder) -> None:
    """Remove checkpoints and generated inputs, which only a resumed run needs."""
    for file in [*run.checkpoints.glob("*/*.ckpt"), *run.checkpoints.glob("source*.npy")]:
        # a link may lead to files of others
        if run.follow_links or run.holds(file.parent):
            file.unlink()
    for folder in run.checkpoints.glob(f"*/*{SUFFIX}"):
        if run.follow_links or run.holds(folder.parent):
            remove_shards(folder)
    for folder in [*run.checkpoints.glob("*"), run.checkpoints]:
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
