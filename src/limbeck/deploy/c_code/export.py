"""Export of a student as C source code, checked against the student on the test split."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from limbeck._base.errors import ConfigError, ExportError
from limbeck._base.files import write_bytes
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float
from limbeck.data.split import read_parts
from limbeck.deploy.bundle import golden_inputs
from limbeck.deploy.c_code.dense import DenseNetwork, dense_network
from limbeck.deploy.c_code.source import SourceCode
from limbeck.deploy.c_code.templates import README
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.destination import Destination
from limbeck.deploy.export import ExportOptions
from limbeck.deploy.models_of_run import Build, reads_run
from limbeck.deploy.parity import check_stages, gate_of, table
from limbeck.deploy.stage import Stage
from limbeck.deploy.student import label_thresholds, open_student, outputs_of
from limbeck.evaluation.evaluate import predict
from limbeck.report.formats import file_size
from limbeck.run.folder import RunFolder

FORMAT = "c"
"""Name of the format, and of the folder in the run folder."""
COMPILER = "cc"
SECONDS = 120
"""Time limit of the compiler and of the test program, in seconds."""


@dataclass(frozen=True)
class CExport:
    """Result of :func:`export_c`. Its text is the table of stages.

    Attributes:
        folder: Folder of the source code.
        arm: Arm of the student.
        seed: Seed of the student.
        stages: Stages of the export with their test errors.
        samples: Number of test samples.
        weight_bytes: Size of the weights in bytes.
        buffer_bytes: Memory between the layers in bytes.
        output: Output of the test program; None if no C compiler compiled and ran it here.
        note: Reason why the student of a control was exported, or empty.
    """

    folder: Path
    arm: str
    seed: int
    stages: list[Stage]
    samples: int
    weight_bytes: int
    buffer_bytes: int
    output: str | None = None
    note: str = ""

    def __str__(self) -> str:
        return table(self.stages, self.samples)


def c_destination(run: str | Path, options: ExportOptions) -> Destination:
    """Return the destination of source code, after a check that it is free.

    Args:
        run: Run folder.
        options: Its folder ``to``, None for ``c`` in the run folder, and ``overwrite``.

    Raises:
        ConfigError: If it cannot be written there, or may not replace what is there.
    """
    folder = RunFolder(run).path
    return Destination.of_format(folder, options.to, FORMAT, overwrite=options.overwrite)


@reads_run
def export_c(
    run: str | Path,
    data: Dataset,
    options: ExportOptions | None = None,
    *,
    build: Build | None = None,
) -> CExport:
    """Export a student of dense layers as C source code, for microcontrollers.

    The code needs no library and no dynamic memory. Its arithmetic is repeated on the whole test
    split, where it has to agree with the student's. If the program ``cc`` can compile and run it
    here, it is also run on golden inputs.

    Args:
        run: Folder of a finished run.
        data: Dataset of the run.
        options: Choice of the student; ``to`` is ``c`` in the run folder by default, and ``int8``
            writes weights in 8 bits.
        build: Function that takes the name of an arm and returns its untrained student, for your
            own classes.

    Raises:
        ConfigError: If the run has no such student, or it has other layers than dense ones.
        DataError: If the dataset differs from the one the run used.
        ExportError: If the outputs of the code differ. Nothing is written.
    """
    options = options or ExportOptions()
    check_has_one_answer(data, "export")
    if data.padding is not None:
        raise ConfigError(
            f"format={FORMAT} is for images, tables and arrays, but the inputs of {data.name} are "
            "texts. Leave it out."
        )
    destination = c_destination(run, options)
    source = open_student(run, data, options, build)
    student, data = source.model, source.data
    network, stages = _check(student, source.outputs, data, options)
    code = _source_code(network, student, data, source.title)
    result = CExport(
        destination.folder,
        source.arm,
        source.seed,
        stages,
        source.summary.data.test,
        network.weight_bytes,
        code.buffer_bytes,
        note=source.note,
    )
    with scratch_folder() as temporary:
        _write(temporary / FORMAT, code, _expected(student, network, data, options), result)
        output = _compile_and_test(temporary / FORMAT, temporary / "test")
        destination.publish(temporary / FORMAT, overwrite=options.overwrite)
    return replace(result, output=output)


def _check(
    student: nn.Module, reference: np.ndarray, data: Dataset, options: ExportOptions
) -> tuple[DenseNetwork, list[Stage]]:
    """Convert a student, and check each stage on the test split.

    Raises:
        ExportError: If a stage fails.
    """
    test = data.open_test()
    gate = gate_of(data, test, share=options.int8_share)
    outputs = outputs_of(student, test)
    stages = [gate.check_same("student", outputs, reference)]
    network = dense_network(student, data.train.inputs[:1].numpy())
    floats = _outputs(network, test)
    stages.append(gate.check_same("C float", floats, outputs))
    if options.int8:
        network = network.in_8_bits()
        stages.append(gate.check_similar("C int8", _outputs(network, test), floats))
    check_stages(stages, len(test))
    return network, stages


def _outputs(network: DenseNetwork, split: Split) -> np.ndarray:
    """Compute the outputs ``[N, O]`` of a network, without a copy of all inputs in float32."""
    return np.concatenate([network(part.numpy()) for part in read_parts(split.inputs)])


def _source_code(
    network: DenseNetwork, student: nn.Module, data: Dataset, title: str
) -> SourceCode:
    inputs = data.train.inputs
    return SourceCode(
        network,
        title,
        inputs[0].numel(),
        inputs.dtype == torch.uint8,
        data.output_names,
        data.kind.has_classes,
        data.columns,
        _thresholds(student, data),
    )


def _thresholds(student: nn.Module, data: Dataset) -> np.ndarray | None:
    """Return the logits from which each of several labels applies; None for other tasks."""
    if data.kind.outputs != "labels":
        return None
    probabilities = np.asarray(label_thresholds(data, outputs_of(student, data.val)))
    return (np.log(probabilities) - np.log1p(-probabilities)).astype(np.float32)


def _expected(
    student: nn.Module, network: DenseNetwork, data: Dataset, options: ExportOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return golden inputs and their outputs: the student's, or those of weights in 8 bits."""
    golden = golden_inputs(data)
    if options.int8:
        return golden, network(golden)
    return golden, predict(student, [as_float(torch.from_numpy(golden))]).numpy()


def _write(
    folder: Path, code: SourceCode, expected: tuple[np.ndarray, np.ndarray], result: CExport
) -> None:
    """Write the files of the source code."""
    last = result.stages[-1]
    errors = (
        f"{last.errors:,} errors"
        if last.squared_error is None
        else (f"a mean squared error of {last.squared_error:.6g}")
    )
    readme = README.substitute(
        title=code.title,
        weights=file_size(result.weight_bytes),
        buffers=file_size(result.buffer_bytes),
        count=len(expected[0]),
        samples=f"{result.samples:,}",
        result=errors,
    )
    files = {
        "model.h": code.header(),
        "model.c": code.model(),
        "test.c": code.test(*expected),
        "README.md": readme,
    }
    for name, content in files.items():
        write_bytes(folder / name, content.encode())


def _compile_and_test(folder: Path, program: Path) -> str | None:
    """Compile the code and run its test; return what it prints, None if that is impossible here.

    Raises:
        ExportError: If its outputs differ.
    """
    sources = [str(folder / name) for name in ("model.c", "test.c")]
    command = [COMPILER, "-O2", "-std=c99", "-o", str(program), *sources, "-lm"]
    try:
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        test = subprocess.run([program], capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):  # no compiler, or no right to run its program
        return None
    output = test.stdout.decode(errors="replace").strip()
    if test.returncode:
        raise ExportError(
            "The C code failed its test on this machine, so nothing was written: "
            f"{output.partition(chr(10))[0] or f'exit code {test.returncode}'}"
        )
    return output
