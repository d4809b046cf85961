"""A trained student of a run becomes a bundle: exported, quantised, through the gate, packed and
verified.
"""

import errno
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base import bundle_runtime as runtime
from limbeck._base.errors import ConfigError, DataError, ExportError, UntrustedFileError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.deploy.bundle import Contents, golden_inputs, write_bundle, zip_bundle
from limbeck.deploy.calibration import fit_temperature
from limbeck.deploy.card import model_card
from limbeck.deploy.choose import check_no_text, choose_student
from limbeck.deploy.gate import Stage, same_answers, similar_answers, table
from limbeck.deploy.onnx_export import calibration_inputs, need_onnx, onnx_logits, quantize, to_onnx
from limbeck.evaluation.bias import BIASES
from limbeck.evaluation.metrics import predict
from limbeck.models import load_model
from limbeck.run.folder import RunFolder

INT8_SHARE = 0.001
BATCH = 256


@dataclass(frozen=True)
class Exported:
    """What :func:`export` made.

    Attributes:
        folder: the bundle.
        zipped: the same as one file, or None.
        arm: of the student in it.
        seed: likewise.
        stages: what the gate found on the way.
        samples: of the test split.
    """

    folder: Path
    zipped: Path | None
    arm: str
    seed: int
    stages: list[Stage]
    samples: int

    def __str__(self) -> str:
        return table(self.stages, self.samples)


def export(
    run: str | Path,
    data: Dataset,
    *,
    to: str | Path | None = None,
    arm: str | None = None,
    seed: int | None = None,
    adjusted: str | None = None,
    int8: bool = True,
    int8_share: float = INT8_SHARE,
    zipped: bool = True,
    overwrite: bool = False,
    build: Callable[[str], nn.Module] | None = None,
    progress: bool = True,
) -> Exported:
    """Export one student of a finished run.

    The student is scored on the whole test split at each step: as PyTorch loads it from the run, as
    ONNX Runtime runs it in float32 (top classes and errors must be the same, logits but for
    rounding), and with 8 bits.

    Args:
        run: the run folder.
        data: the data set of the run.
        to: the folder of the bundle; None for ``bundle`` in the run folder.
        arm: of the student; None for the best distilled one on the validation split.
        seed: likewise.
        adjusted: the student with constants added to its logits, by how they were set (``prior`` or
            ``kappa``).
        int8: add a model with 8-bit weights and activations.
        int8_share: of the test samples that it may get wrong beyond those of the float32 model (5
            at least).
        zipped: write the same as a zip file beside the folder.
        overwrite: replace an earlier bundle.
        build: makes the empty student of an arm, for classes of a user's own.
        progress: show progress on standard error.

    Raises:
        ConfigError: there is no such student, the data is text, the folder is taken, or ONNX cannot
            express the model.
        DataError: the data set is not the one of the run.
        ExportError: the exported model does not answer like the student; nothing was written.
        ResourceError: the libraries of the extra ``export`` are missing.
    """
    check_no_text(data, "export")
    need_onnx()
    if not 0 <= int8_share <= 1:
        raise ConfigError(f"int8_share={int8_share!r} should be a share from 0 to 1.")
    folder = RunFolder(run)
    summary = folder.read_summary()
    manifest = folder.read_json(folder.manifest)
    by_hand = arm is not None or seed is not None
    arm, seed = choose_student(summary, arm, seed)
    if adjusted is not None and adjusted not in BIASES:
        raise ConfigError(f"adjusted={adjusted!r} is unknown; choose one of {', '.join(BIASES)}.")
    target, archive = _place(to, folder, zipped=zipped)
    _check_free(target, archive, overwrite=overwrite)
    if manifest.get("digests", {}).get("data") != data.digest():
        raise DataError(
            f"{folder.path}: the data is not that of the run (its digest is another). Put it back."
        )
    student = _student(folder, arm, seed, adjusted, build)
    shown = StageProgress(enabled=progress)
    with (
        tempfile.TemporaryDirectory(prefix="limbeck-") as aside,
        shown.stage("export", 4) as advance,
    ):
        test = data.open_test()
        own, val = _torch_logits(student, test.inputs), _torch_logits(student, data.val.inputs)
        stages = [
            same_answers(
                "student", own, _kept(folder, summary, arm, seed, adjusted), test.labels.numpy()
            )
        ]
        advance(1)
        exported = to_onnx(student, data.train.inputs[:2])
        models = {"fp32": exported.SerializeToString(deterministic=True)}
        answers = {"fp32": onnx_logits(models["fp32"], "fp32", test.inputs, data.class_names)}
        stages.append(same_answers("onnx fp32", answers["fp32"], own, test.labels.numpy()))
        advance(2)
        if int8 and all(stage.passed for stage in stages):
            chosen = calibration_inputs(data.train.inputs)
            models["int8"] = quantize(exported, chosen, Path(aside)).SerializeToString(
                deterministic=True
            )
            answers["int8"] = onnx_logits(models["int8"], "int8", test.inputs, data.class_names)
            found = similar_answers(
                "onnx int8",
                answers["int8"],
                answers["fp32"],
                test.labels.numpy(),
                share=int8_share,
                class_names=data.class_names,
            )
            stages.append(found)
        advance(3)
        _check_passed(stages, len(test))
        labels = data.val.labels.numpy()
        temperature = fit_temperature(val, labels)
        contents = Contents(
            name=f"{summary['recipe']}: {arm}, seed {seed}{', with constants' if adjusted else ''}",
            models=models,
            class_names=data.class_names,
            golden=golden_inputs(data),
            temperature=temperature,
            crop_border=data.crop_border,
            image=_is_image(data),
            card=model_card(
                summary,
                manifest,
                arm=arm,
                seed=seed,
                adjusted=adjusted,
                by_hand=by_hand,
                stages=stages,
                class_names=data.class_names,
                logits=val,
                labels=labels,
                temperature=temperature,
            ),
        )
        packed = write_bundle(Path(aside) / "bundle", contents)
        runtime.verify(packed)
        _publish(packed, target, archive, overwrite=overwrite)
        advance(4)
    return Exported(target, archive, arm, seed, stages, len(test))


def _place(to: str | Path | None, folder: RunFolder, *, zipped: bool) -> tuple[Path, Path | None]:
    """Where the bundle goes, and its zip file.

    Raises:
        ConfigError: it names no folder, or one that cannot be made.
    """
    target = folder.path / "bundle" if to is None else Path(to).absolute()
    if not target.name or target.suffix == ".zip":
        raise ConfigError(
            f"to={target} should name a folder, as in to=digits; a zip file is written beside it."
        )
    if target.is_symlink() and not target.exists():
        raise ConfigError(f"to={target} is a link that leads nowhere. Name another folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"to={target} cannot be made ({error.strerror}). Name another folder."
        ) from None
    if not os.access(target.parent, os.W_OK):
        raise ConfigError(
            f"to={target}: {target.parent} cannot be written to. Name another folder."
        )
    return target, target.with_name(f"{target.name}.zip") if zipped else None


def _check_free(target: Path, archive: Path | None, *, overwrite: bool) -> None:
    """Check that nothing is lost by writing there.

    Raises:
        ConfigError: something is there, and may not be replaced.
    """
    if target.is_file():
        raise ConfigError(f"to={target} is a file; name a folder.")
    for place in [target, *([archive] if archive else [])]:
        if not place.exists() or (place.is_dir() and not any(place.iterdir())):
            continue
        if not overwrite:
            raise ConfigError(
                f"to={place} is there already. Name another place, or replace it with "
                "overwrite=true."
            )
        if not _is_bundle(place):
            raise ConfigError(
                f"to={place} is no bundle, so overwrite=true will not replace it. Name another "
                "place."
            )


def _is_bundle(place: Path) -> bool:
    if place.is_dir():
        return (place / runtime.SUMS).is_file()
    if not zipfile.is_zipfile(place):
        return False
    with zipfile.ZipFile(place) as packed:
        return any(Path(name).name == runtime.SUMS for name in packed.namelist())


def _check_passed(stages: Sequence[Stage], samples: int) -> None:
    broken = [stage for stage in stages if not stage.passed]
    if not broken:
        return
    hint = (
        " Leave it out with int8=false, or allow more with int8_share=."
        if broken[0].name == "onnx int8"
        else ""
    )
    raise ExportError(
        f"the exported model differs at the stage '{broken[0].name}', so nothing was "
        f"written.{hint}\n"
        f"{table(stages, samples)}"
    )


def _student(
    folder: RunFolder,
    arm: str,
    seed: int,
    adjusted: str | None,
    build: Callable[[str], nn.Module] | None,
) -> nn.Module:
    place = folder.student(arm, seed)
    if adjusted is not None:
        place = place / adjusted
        if not place.is_dir():
            raise ConfigError(
                f"{place} is missing: this run has no students with constants of "
                f"adjusted={adjusted}."
            )
    return load_model(place, None if build is None else lambda: build(arm)).model


def _kept(
    folder: RunFolder, summary: Mapping[str, Any], arm: str, seed: int, adjusted: str | None
) -> np.ndarray:
    """The test logits that the run has kept of the student, with its constants if it has some."""
    try:
        with np.load(folder.predictions, allow_pickle=False) as arrays:
            logits = arrays[f"students/{arm}/seed{seed}"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        raise UntrustedFileError(
            f"{folder.predictions} is missing, damaged or lacks arm {arm}, seed {seed}."
        ) from None
    if adjusted is None:
        return logits
    entry = next(entry for entry in summary["arms"] if entry["name"] == arm)
    own = next(
        (found for found in entry.get("adjusted", ()) if found["how"] == adjusted), {"seeds": ()}
    )
    for found in own["seeds"]:
        if found["seed"] == seed:
            return logits + np.asarray(found["bias"], np.float32)
    raise ConfigError(
        f"{folder.path}: arm {arm}, seed {seed} has no constants of adjusted={adjusted}."
    )


def _torch_logits(model: nn.Module, inputs: Tensor) -> np.ndarray:
    return predict(model, (as_float(part) for part in inputs.split(BATCH))).numpy()


def _is_image(data: Dataset) -> bool:
    """Whether an image file can be turned into an input."""
    inputs = data.train.inputs
    return inputs.dtype == torch.uint8 and inputs.ndim == 4 and inputs.shape[1] in (1, 3)


def _publish(packed: Path, target: Path, archive: Path | None, *, overwrite: bool) -> None:
    """A finished bundle and its zip file into their places; earlier ones come back if that fails.

    Raises:
        ConfigError: something has come there meanwhile.
    """
    waiting = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    earlier: list[tuple[Path, Path]] = []
    try:
        shutil.copytree(packed, waiting / target.name)
        ready = [(waiting / target.name, target)]
        if archive is not None:
            zip_bundle(waiting / target.name, waiting / archive.name)
            ready.append((waiting / archive.name, archive))
        _check_free(target, archive, overwrite=overwrite)
        for new, place in ready:
            if place.exists():
                earlier.append((waiting / f"earlier {place.name}", place))
                os.replace(place, earlier[-1][0])
            os.replace(new, place)
    except BaseException as error:
        for kept, place in earlier:
            if kept.exists() and not place.exists():
                os.replace(kept, place)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ConfigError(f"to={target} is there already: another export was faster.") from None
        raise
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
