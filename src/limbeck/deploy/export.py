"""Export of a student as a bundle: ONNX models, checked against the student on the test split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck._base.progress import Advance, StageProgress
from limbeck._base.runtime.verify import verify
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.deploy.bundle import BundleContents, golden_inputs, write_bundle
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.default_precision import default_precision
from limbeck.deploy.destination import Destination
from limbeck.deploy.guarantees import find_thresholds
from limbeck.deploy.int8 import FloatLayers, convert_to_int8
from limbeck.deploy.model_card import CardFacts, model_card
from limbeck.deploy.models_of_run import Build, reads_run
from limbeck.deploy.onnx_export import check_onnx_is_installed, onnx_logits, to_onnx
from limbeck.deploy.parity import check_stages, gate_of, table
from limbeck.deploy.preprocess import describe_inputs
from limbeck.deploy.stage import Stage
from limbeck.deploy.student import label_thresholds, open_student, outputs_of
from limbeck.evaluation.bias import BIASES
from limbeck.evaluation.calibration import fit_temperature
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest

BATCH = 256


@dataclass(frozen=True)
class ExportOptions:
    """Choice of the student, and settings of the export.

    Attributes:
        to: Folder of the bundle. None for ``bundle`` in the run folder.
        arm: Arm of the student. None for the best one on the validation split, which may be a
            control.
        seed: Seed of the student. None for the best one on the validation split.
        adjusted: Method that fitted constants to add to the student's logits (``prior`` or
            ``kappa``). None for the student without constants.
        int8: Whether to add a model with 8-bit weights and activations. None to add it unless it
            makes too many additional errors.
        int8_share: Allowed share of additional test errors of the 8-bit model. A few errors are
            always allowed, unless it is 0.
        zipped: Whether to also write the bundle to a zip file next to the folder.
        overwrite: Whether to replace an earlier bundle.

    Raises:
        ConfigError: If a value is out of range.
    """

    to: str | Path | None = None
    arm: str | None = None
    seed: int | None = None
    adjusted: str | None = None
    int8: bool | None = None
    int8_share: float = 0.001
    zipped: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.int8_share <= 1:
            raise ConfigError(f"int8_share={self.int8_share!r} should be between 0 and 1.")
        if self.adjusted is not None and self.adjusted not in BIASES:
            raise ConfigError(
                f"adjusted={self.adjusted!r} is unknown. Choose one of {', '.join(BIASES)}."
            )


@dataclass(frozen=True)
class ExportResult:
    """Result of :func:`export`. Its text is the table of stages.

    Attributes:
        folder: Folder of the bundle.
        archive: Zip file of the bundle, or None.
        arm: Arm of the student.
        seed: Seed of the student.
        stages: Stages of the export with their test errors.
        samples: Number of test samples.
        note: Reason why the student of a control was exported or the 8-bit model was left out or
            has layers in float32, or empty.
    """

    folder: Path
    archive: Path | None
    arm: str
    seed: int
    stages: list[Stage]
    samples: int
    note: str = ""

    def __str__(self) -> str:
        return table(self.stages, self.samples)


def open_destination(run: str | Path, options: ExportOptions) -> Destination:
    """Return the destination of an export after what a killed one had moved away is restored.

    Raises:
        ConfigError: If the bundle cannot be written there, or may not replace what is there.
    """
    destination = Destination.of(options.to, RunFolder(run).path, zipped=options.zipped)
    destination.recover()
    destination.check_free(overwrite=options.overwrite)
    return destination


@reads_run
def export(
    run: str | Path,
    data: Dataset,
    options: ExportOptions | None = None,
    *,
    build: Build | None = None,
    progress: bool = True,
) -> ExportResult:
    """Export a student of a finished run as a bundle.

    The student is scored on the whole test split at each stage: as PyTorch loads it from the run,
    as ONNX Runtime runs it in float32 (same top classes and errors, logits equal up to rounding),
    and in 8 bits. If it makes too many additional errors in 8 bits, the layers that lose the most
    stay in float32 (see :class:`limbeck.deploy.mixed_precision.MixedPrecision`).

    Args:
        run: Folder of a finished run.
        data: Dataset of the run.
        options: Choice of the student, and settings of the export.
        build: Function that takes the name of an arm and returns its untrained student, for your
            own classes.
        progress: Whether to show progress on standard error.

    Raises:
        ConfigError: If the run has no such student, another process works in its folder, the
            dataset is text, the bundle cannot be written, or the model cannot be exported to ONNX.
        DataError: If the dataset differs from the one the run used.
        ExportError: If the outputs of the exported model differ. Nothing is written.
        ResourceError: If a library is missing.
    """
    options = options or ExportOptions()
    check_has_one_answer(data, "export")
    check_onnx_is_installed()
    destination = open_destination(run, options)
    source = open_student(run, data, options, build)
    student, data, summary = source.model, source.data, source.summary
    manifest = read_manifest(RunFolder(run))
    if data.kind.outputs == "vectors":
        options = _without_int8(options)

    stages = StageProgress(enabled=progress)
    with (
        scratch_folder() as temporary,
        stages.stage("export", 1.0) as advance,
    ):
        conversion = _convert(student, source.outputs, data, options, temporary, advance)
        float_layers = conversion.float_layers
        val_logits, labels = outputs_of(student, data.val), data.val.labels.numpy()
        temperature = 1.0
        thresholds: Mapping[str, Mapping[str, float]] = {name: {} for name in conversion.models}
        if data.kind.has_classes:
            temperature = fit_temperature(val_logits, labels)
            thresholds = find_thresholds(
                conversion.models,
                data,
                temperature,
                summary,
                options.adjusted,
                int8_models=1 if float_layers is None else float_layers.tried,
            )
        facts = CardFacts(
            arm=source.arm,
            seed=source.seed,
            adjusted=options.adjusted,
            is_user_choice=options.arm is not None or options.seed is not None,
            note=source.note,
            stages=conversion.stages,
            class_names=data.output_names,
            logits=val_logits,
            labels=labels,
            temperature=temperature,
            thresholds=thresholds["fp32"],
            columns=data.columns,
            text_columns=None if data.padding is None else data.text_columns,
            float_layers=float_layers,
        )
        suffix = ", with constants" if options.adjusted else ""
        contents = BundleContents(
            name=f"{source.title}{suffix}",
            models=conversion.models,
            class_names=data.output_names,
            golden=golden_inputs(data),
            temperature=temperature,
            preprocess=describe_inputs(data),
            scale=source.scale,
            label_thresholds=label_thresholds(data, val_logits),
            tokenizer=data.tokenizer,
            default=default_precision(conversion.models, golden_inputs(data), data.output_names),
            thresholds=thresholds,
            card=model_card(summary, manifest, facts),
            float_layers=() if float_layers is None else float_layers.names,
        )
        bundle = write_bundle(temporary / "bundle", contents)
        verify(bundle)
        destination.publish(bundle, overwrite=options.overwrite)
        advance(1.0)
    return ExportResult(
        destination.folder,
        destination.archive,
        source.arm,
        source.seed,
        conversion.stages,
        summary.data.test,
        " ".join(filter(None, (source.note, conversion.note))),
    )


@dataclass(frozen=True)
class _Conversion:
    """ONNX models of a student as bytes by precision, and the stages that they passed.

    The note says why there is no 8-bit model, if it was left out, or which of its layers are in
    float32.
    """

    models: Mapping[str, bytes]
    stages: list[Stage]
    note: str = ""
    float_layers: FloatLayers | None = None


def _convert(
    student: nn.Module,
    run_logits: np.ndarray,
    data: Dataset,
    options: ExportOptions,
    folder: Path,
    advance: Advance,
) -> _Conversion:
    """Convert a student to ONNX and check each stage on the test split.

    Args:
        student: Student as loaded from the run.
        run_logits: Test logits of the student in the run folder, ``[N, classes]``.
        data: Dataset of the run.
        options: Whether and how to quantise.
        folder: Folder for temporary files.
        advance: Callback for the progress.

    Raises:
        ExportError: If a stage fails.
    """
    test = data.open_test()
    gate = gate_of(data, test, share=options.int8_share)
    logits = outputs_of(student, test)
    stages = [gate.check_same("student", logits, run_logits)]
    advance(0.1, "converting to ONNX")  # the longest step

    model = to_onnx(student, data.train.inputs[:2])
    models = {"fp32": model.SerializeToString(deterministic=True)}
    advance(0.7, "checking the ONNX model")
    fp32_logits = onnx_logits(models["fp32"], "fp32", test.inputs, data.output_names, data.padding)
    stages.append(gate.check_same("onnx fp32", fp32_logits, logits))
    advance(0.8, "converting to 8 bits")

    conversion = _Conversion(models, stages)
    if options.int8 is not False and all(stage.passed for stage in stages):
        int8 = convert_to_int8(
            model,
            fp32_logits,
            data,
            options.int8_share,
            folder,
            lambda done, note="": advance(0.8 + 0.15 * done, note),
        )
        if int8.content is not None:
            models["int8"] = int8.content
        if int8.content is not None or options.int8:
            stages.append(int8.stage)
        conversion = _Conversion(models, stages, int8.note, int8.float_layers)
    advance(0.95, "writing the bundle")
    check_stages(stages, len(test))
    return conversion


def _without_int8(options: ExportOptions) -> ExportOptions:
    """Return the options for embeddings, which have no 8-bit model unless it is asked for."""
    return replace(options, int8=options.int8 is True)
