"""Cost of students before they are trained."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from limbeck._base.progress import StageProgress
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.data.model_facts import model_facts
from limbeck.data.padding import cut_padding
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.cost import BATCH, CostModel, measure, multiply_adds
from limbeck.deploy.onnx_export import (
    calibration_inputs,
    check_onnx_is_installed,
    quantize,
    to_onnx,
    write_model,
)
from limbeck.models import count_parameters, model_name, save_model
from limbeck.models.files.rebuild import describe
from limbeck.run.cost import SCHEMA, Cost
from limbeck.run.manifest import hardware, installed_versions
from limbeck.run.records import to_json


def untrained_cost(
    students: Mapping[str, nn.Module], data: Dataset, *, progress: bool = True
) -> Cost:
    """Measure size, memory and latency of students with random weights.

    These depend on the architecture alone, so that a student that is too large or too slow for a
    device need not be trained.

    Args:
        students: Untrained students by name.
        data: Dataset for which they are built.
        progress: Whether to show progress on standard error.

    Returns:
        Cost of each student in PyTorch, in ONNX Runtime and in 8 bits, without test errors.

    Raises:
        ConfigError: If a student cannot be exported to ONNX, or the dataset is text in blocks or
            has embeddings.
        ResourceError: If a library is missing or a measurement fails.
    """
    check_has_one_answer(data, "cost")
    check_onnx_is_installed()
    stages = StageProgress(enabled=progress)
    with scratch_folder() as temporary:
        models = []
        with stages.stage("exporting", len(students)) as advance:
            for number, (name, student) in enumerate(students.items(), start=1):
                folder = temporary / str(number)
                folder.mkdir()
                models.append(_export(name, student.eval(), data, folder))
                advance(number)
        with stages.stage("measuring", 1.0) as advance:
            batch = cut_padding(data.train.inputs[:BATCH], data.padding).contiguous()
            rows = measure(models, batch.numpy(), advance)
    return Cost(
        schema=SCHEMA,
        rows=rows,
        hardware=to_json(hardware()),
        versions=installed_versions(),
        batch=BATCH,
    )


def _export(name: str, student: nn.Module, data: Dataset, folder: Path) -> CostModel:
    """Export an untrained student to the files that are measured."""
    labels = {"labels": list(range(data.classes))}
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    inputs = data.train.inputs
    model = to_onnx(student, inputs[:2])
    files = {"fp32": folder / "fp32.onnx", "int8": folder / "int8.onnx"}
    write_model(model, files["fp32"])
    write_model(quantize(model, calibration_inputs(inputs), folder), files["int8"])
    folders = []
    if describe(student)["builder"]:
        folders = [folder / "torch"]
        save_model(student, folders[0], **model_facts(data))
    return CostModel(
        name=name,
        architecture=model_name(student),
        params=count_parameters(student),
        folders=folders,
        onnx={precision: [file] for precision, file in files.items()},
        macs=multiply_adds(student, cut_padding(inputs[:BATCH], data.padding)),
        errors={},
        measure=data.kind.measure,
    )
