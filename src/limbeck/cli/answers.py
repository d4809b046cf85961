"""``limbeck answers``."""

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base import signals
from limbeck._base.addresses import is_address
from limbeck._base.errors import ConfigError
from limbeck._base.printable import path_from_here
from limbeck.cli.parsers import add_trust, add_verb, trust_of
from limbeck.cli.terminal import note, say

if TYPE_CHECKING:
    import torch

    from limbeck.data import Dataset
    from limbeck.run.folder import RunFolder
    from limbeck.study.cluster.launcher import Launcher
    from limbeck.teacher.signal import LiveTeacher

EPILOG = """\
settings:
  to=FILE      .csv, .parquet, .npz, .npy or .jsonl file to write, or a folder for Parquet files;
               an interrupted folder is continued by the same command. It may be an address of
               fsspec, such as s3://bucket/answers
  top=K        number of most probable classes to write; all logits without it
  launcher=ray compute on the machines of a Ray cluster, with the settings of `limbeck run`
  data=...     dataset to answer, and all other settings of `limbeck run`; without any, RUN's own

examples:
  limbeck answers runs/first to=answers.csv
  limbeck answers teacher.pt to=answers.parquet data=mnist teacher=mlp
  limbeck answers runs/first to=answers launcher=ray launcher.gpus=1
"""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck answers``."""
    text = "write the answers of a teacher to all samples of a dataset, to learn from without it"
    parser = add_verb(
        verbs,
        "answers",
        text,
        run,
        run="folder of a finished run, or a model as in teacher.from",
        reads="model",
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings, see below")
    parser.epilog = EPILOG
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the answers of a teacher."""
    from limbeck.run.folder import RunFolder
    from limbeck.run.manifest import read_manifest
    from limbeck.teacher.answer_files.target import check_target

    request = _read_settings(arguments.settings)
    check_target(request.to)
    overrides = request.overrides
    if overrides or not (arguments.run / "manifest.json").is_file():
        teacher, data, device = _from_settings(arguments.run, overrides)
        count = _write(teacher, data, device, request)
        overrides = [*filter(_is_of_data, overrides)]
    else:
        count = _from_run(arguments, request)
        overrides = [*filter(_is_of_data, read_manifest(RunFolder(arguments.run)).overrides or [])]
        if teachers := _count_teachers(RunFolder(arguments.run)):
            note(
                f"{arguments.run} has {teachers} teachers, one for each training split. These are "
                "the answers of the first, which learned from the first split; with splits=1 they "
                "teach the students of that split alone."
            )
            overrides.append("splits=1")
    to = path_from_here(request.to) if isinstance(request.to, Path) else request.to
    say(f"{count:,} answers: {to}")
    words = ["limbeck", "run", f"teacher.answers={to}", *overrides]
    say(f"learn from them: {shlex.join(words)}")
    return 0


def _write(
    teacher: "LiveTeacher", data: "Dataset", device: "torch.device", request: "_Request"
) -> int:
    """Write the answers of a teacher, computed here or on a cluster."""
    from functools import partial

    from limbeck._base.progress import StageProgress
    from limbeck.study.answer_export import write_answers
    from limbeck.study.cluster.blocks import compute_blocks
    from limbeck.study.cluster.connection import connect
    from limbeck.teacher.answer_files.target import suffix_of

    write = partial(
        write_answers,
        teacher,
        data,
        request.to,
        device=device,
        progress=StageProgress(),
        top=request.top,
    )
    if not suffix_of(request.to):
        signals.set_advice(lambda: "Run the same command again to go on.")
    launcher = _launcher_of(request.launcher)
    if launcher.name == "local":
        return write()
    with connect(launcher) as cluster:
        return write(compute=partial(compute_blocks, cluster=cluster))


def _count_teachers(folder: "RunFolder") -> int:
    """Number of teachers of a run with one for each training split; 0 for other runs."""
    from limbeck.run.summary import read_summary

    summary = read_summary(folder)
    has_own = summary.teacher is not None and summary.teacher.sd is not None
    return (summary.splits or 0) if has_own else 0


def _is_of_data(override: str) -> bool:
    """Whether a setting chooses the dataset."""
    return override.partition("=")[0].lstrip("+").partition(".")[0] in ("data", "recipe")


@dataclass(frozen=True)
class _Request:
    """What to write, and where.

    Attributes:
        to: Path or address of the file or folder to write.
        top: Number of most probable classes to write; None for all logits.
        launcher: Settings of the group ``launcher``.
        overrides: Settings of a study.
    """

    to: Path | str
    top: int | None
    launcher: list[str]
    overrides: list[str]


def _read_settings(words: list[str]) -> _Request:
    """Split the settings into those of this command and those of a study.

    Raises:
        ConfigError: If a value is missing or wrong.
    """
    targets = [word.removeprefix("to=") for word in words if word.startswith("to=")]
    if len(targets) != 1 or not targets[0]:
        raise ConfigError("'limbeck answers' needs one file to write. Example: to=answers.parquet.")
    tops = [word.removeprefix("top=") for word in words if word.startswith("top=")]
    if len(tops) > 1:
        raise ConfigError(f"top= is given {len(tops)} times. Give it once.")
    if not all(top.isdecimal() for top in tops):
        raise ConfigError(f"top={tops[0]} should be a number of classes, as in top=5.")
    others = [word for word in words if not word.startswith(("to=", "top="))]
    launcher = [word for word in others if word.lstrip("+").startswith(("launcher=", "launcher."))]
    return _Request(
        to=targets[0] if is_address(targets[0]) else Path(targets[0]).absolute(),
        top=int(tops[0]) if tops else None,
        launcher=launcher,
        overrides=[word for word in others if word not in launcher],
    )


def _launcher_of(words: list[str]) -> "Launcher":
    """Return the settings of the cluster."""
    from limbeck.study.cluster.launcher import Launcher

    if not words:
        return Launcher()
    from limbeck.cli.config.compose import compose
    from limbeck.cli.config.instantiate import plain_settings

    return Launcher.of(plain_settings(compose(words, None, multirun=False))["launcher"])


def _from_settings(
    model: Path, overrides: list[str]
) -> tuple["LiveTeacher", "Dataset", "torch.device"]:
    """Load a model as a teacher for the dataset that settings describe, and choose the device."""
    from limbeck.cli.config.compose import compose
    from limbeck.cli.config.instantiate import build_data_and_teacher, plain_settings
    from limbeck.study.teacher_files import load_teachers
    from limbeck.teacher.signal import LiveTeacher, combine_for
    from limbeck.training.fabric import make_fabric

    settings = plain_settings(compose(overrides, None, multirun=False))
    if settings["teacher"].get("from") is not None:
        raise ConfigError("The model is named before the settings; leave out teacher.from.")
    settings["teacher"]["from"] = str(model)
    data, teacher = build_data_and_teacher(settings)
    models = [loaded.model for loaded in load_teachers(teacher, data)]
    device = make_fabric(settings["trainer"]).device
    return (
        LiveTeacher(models, combine=combine_for(data.kind.outputs, teacher.combine)),
        data,
        device,
    )


def _from_run(arguments: argparse.Namespace, request: _Request) -> int:
    """Write the answers of the teacher of a run to the dataset of the run."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.models_of_run import check_data_of_run, load_teacher
    from limbeck.run.folder import RunFolder
    from limbeck.teacher.signal import LiveTeacher, combine_for
    from limbeck.training.fabric import make_fabric

    with open_finished_run(arguments.run, trust_of(arguments), _check_has_teacher) as study:
        folder = RunFolder(study.folder)
        check_data_of_run(folder, study.data)
        models = load_teacher(folder)
        if not models:
            raise ConfigError(f"{folder.path} holds no copy of its teacher, so nothing can answer.")
        teacher = LiveTeacher(models, combine=combine_for(study.data.kind.outputs, study.combine))
        device = make_fabric().device
        return _write(teacher, study.data, device, request)


def _check_has_teacher(folder: Any) -> None:
    from limbeck.run.summary import read_summary

    summary = read_summary(folder)
    if summary.teacher is None or summary.answers is not None:
        raise ConfigError(f"{folder.path} has no model of a teacher, so nothing can answer.")
