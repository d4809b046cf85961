"""Export of a student to ExecuTorch, checked against the student on the test split."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._base.errors import ExportError
from limbeck._base.files import write_bytes
from limbeck._base.progress import StageProgress
from limbeck._base.runtime.file_names import GOLDEN, LABELS, PREPROCESS, SUMS, TOKENIZER
from limbeck._base.scratch import scratch_folder
from limbeck._base.version import __version__
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.deploy.bundle import (
    checksums,
    golden_inputs,
    golden_tolerance,
    json_bytes,
    labels_file,
)
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.destination import Destination
from limbeck.deploy.executorch.lowering import Lowering, check_executorch_is_installed, lower
from limbeck.deploy.executorch.runtime import run_program
from limbeck.deploy.executorch.templates import README
from limbeck.deploy.export import ExportOptions
from limbeck.deploy.markdown import plain
from limbeck.deploy.models_of_run import Build, reads_run
from limbeck.deploy.parity import check_stages, gate_of, table
from limbeck.deploy.preprocess import describe_inputs
from limbeck.deploy.stage import Stage
from limbeck.deploy.student import ExportStudent, label_thresholds, open_student, outputs_of
from limbeck.evaluation.calibration import fit_temperature
from limbeck.evaluation.evaluate import predict
from limbeck.run.folder import RunFolder

FORMAT = "executorch"
"""Name of the format, and of the folder in the run folder."""
MODEL, FACTS, CARD = "model.pte", "executorch.json", "README.md"
STAGE = "executorch fp32"


@dataclass(frozen=True)
class ExecutorchExport:
    """Result of :func:`export_executorch`. Its text is the table of stages.

    Attributes:
        folder: Folder of the program.
        arm: Arm of the student.
        seed: Seed of the student.
        stages: Stages of the export with their test errors.
        samples: Number of test samples.
        bytes: Size of the program in bytes.
        other_operators: Names of the operators that XNNPACK does not compute.
        note: Reason why the student of a control was exported, or empty.
    """

    folder: Path
    arm: str
    seed: int
    stages: list[Stage]
    samples: int
    bytes: int
    other_operators: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        return table(self.stages, self.samples)


def executorch_destination(run: str | Path, options: ExportOptions) -> Destination:
    """Return the destination of a program, after a check that it is free.

    Args:
        run: Run folder.
        options: Its folder ``to``, None for ``executorch`` in the run folder, and ``overwrite``.

    Raises:
        ConfigError: If it cannot be written there, or may not replace what is there.
    """
    folder = RunFolder(run).path
    return Destination.of_format(folder, options.to, FORMAT, overwrite=options.overwrite)


@reads_run
def export_executorch(
    run: str | Path,
    data: Dataset,
    options: ExportOptions | None = None,
    *,
    build: Build | None = None,
    progress: bool = True,
) -> ExecutorchExport:
    """Export a student as a program of ExecuTorch in float32, for phones and embedded devices.

    XNNPACK computes what it can, and ExecuTorch's own kernels the rest. ExecuTorch's runtime for
    Python runs the program on golden inputs and on the whole test split, where it has to agree with
    the student.

    Args:
        run: Folder of a finished run.
        data: Dataset of the run.
        options: Choice of the student; ``to`` is ``executorch`` in the run folder by default.
        build: Function that takes the name of an arm and returns its untrained student, for your
            own classes.
        progress: Whether to show progress on standard error.

    Raises:
        ConfigError: If the run has no such student, the dataset is text to continue, or the model
            cannot be lowered.
        DataError: If the dataset differs from the one the run used.
        ExportError: If the outputs of the program differ. Nothing is written.
        ResourceError: If ExecuTorch is missing.
    """
    options = options or ExportOptions()
    check_has_one_answer(data, "export")
    check_executorch_is_installed()
    destination = executorch_destination(run, options)
    source = open_student(run, data, options, build)
    with (
        scratch_folder() as temporary,
        StageProgress(enabled=progress).stage("export", 1.0) as advance,
    ):
        advance(0.0, "lowering to ExecuTorch")  # the longest step
        program = lower(source.model, source.data.train.inputs)
        advance(0.7, "checking the program")
        stages = _write(temporary / FORMAT, source, program)
        destination.publish(temporary / FORMAT, overwrite=options.overwrite)
        advance(1.0)
    return ExecutorchExport(
        destination.folder,
        source.arm,
        source.seed,
        stages,
        source.summary.data.test,
        len(program.content),
        program.other_operators,
        source.note,
    )


def _write(folder: Path, source: ExportStudent, program: Lowering) -> list[Stage]:
    """Write the files of the folder, after a check of the program that is written there.

    Raises:
        ExportError: If a stage fails, or a golden output differs.
    """
    data = source.data
    test, golden = data.open_test(), torch.from_numpy(golden_inputs(data))
    expected = predict(source.model, [as_float(golden)]).numpy()
    tolerance = golden_tolerance(expected, "fp32", source.scale)
    write_bytes(folder / MODEL, program.content)
    outputs, golden_outputs = run_program(folder / MODEL, test.inputs, golden)
    gate, student_outputs = gate_of(data, test, share=0), outputs_of(source.model, test)
    stages = [
        gate.check_same("student", student_outputs, source.outputs),
        gate.check_same(STAGE, outputs, student_outputs),
    ]
    check_stages(stages, len(test))
    _check_golden(golden_outputs, expected, tolerance, source.scale)

    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, inputs=golden.numpy(), fp32=expected)
    facts = _facts(source, program, expected, tolerance)
    files = {
        MODEL: program.content,
        LABELS: labels_file(data.output_names, facts),
        PREPROCESS: json_bytes(describe_inputs(data)),
        FACTS: json_bytes(facts),
        GOLDEN: arrays.getvalue(),
    }
    if data.tokenizer is not None and data.tokenizer.file is not None:
        files[TOKENIZER] = data.tokenizer.file.encode()
    files[SUMS] = checksums(files)
    files[CARD] = _card(source, facts, stages[-1]).encode()
    del files[MODEL]  # it is there, and was checked there
    for name, content in files.items():
        write_bytes(folder / name, content)
    return stages


def _check_golden(
    outputs: np.ndarray, expected: np.ndarray, tolerance: float, scale: Sequence[float] | None
) -> None:
    """Check the outputs of golden inputs.

    Raises:
        ExportError: If one differs.
    """
    distance = np.abs(outputs.astype(np.float64) - expected)
    if scale is not None:
        distance = distance / np.array(scale)
    failures = int((~(distance <= tolerance).all(1)).sum())  # NAN fails, too
    if failures:
        raise ExportError(
            f"The program differs on {failures} of {len(outputs)} golden inputs, by up to "
            f"{np.max(distance):.3g} ({tolerance:.2g} is allowed), so nothing was written."
        )


def _facts(
    source: ExportStudent, program: Lowering, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """Return the content of ``executorch.json``."""
    data = source.data
    dtype = str(data.train.inputs.dtype).removeprefix("torch.")
    facts: dict[str, Any] = {
        "name": source.title,
        "limbeck": __version__,
        "executorch": version("executorch"),
        "backend": "XNNPACK",
        "other_operators": list(program.other_operators),
        "method": "forward",
        "input": {"shape": [1, *data.shape], "dtype": dtype},
        "output": {"shape": [1, expected.shape[1]], "dtype": "float32"},
        "tolerance": tolerance,
    }
    val_outputs = outputs_of(source.model, data.val)
    if data.kind.has_classes:
        facts["temperature"] = fit_temperature(val_outputs, data.val.labels.numpy())
    thresholds = label_thresholds(data, val_outputs)
    if thresholds is not None:
        facts["label_thresholds"] = thresholds
    if source.scale is not None:
        facts["scale"] = list(source.scale)
    return facts


def _card(source: ExportStudent, facts: Mapping[str, Any], stage: Stage) -> str:
    """Return the text of ``README.md``."""
    if stage.squared_error is not None:
        result = f"a mean squared error of {stage.squared_error:.6g}"
    elif stage.missed_neighbours is not None:
        result = "the vectors of the student"
    else:
        result = f"{stage.errors:,} {'errors' if stage.predictions is None else 'wrong labels'}"
    return README.substitute(
        title=plain(source.title),
        version=facts["executorch"],
        kind=source.data.kind.description,
        input=" x ".join(map(str, facts["input"]["shape"])),
        input_type=facts["input"]["dtype"],
        output=" x ".join(map(str, facts["output"]["shape"])),
        others=", ".join(facts["other_operators"]) or "none",
        samples=f"{source.summary.data.test:,}",
        result=result,
    )
