"""Models as they are measured: their files for each runtime."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from limbeck._base.progress import Advance
from limbeck.data import Dataset
from limbeck.data.padding import cut_padding
from limbeck.deploy.cost import BATCH, CostModel, measure, multiply_adds
from limbeck.deploy.onnx_export import calibration_inputs, quantize, to_onnx, write_model
from limbeck.deploy.vectors import UnitVectors
from limbeck.models import count_parameters, model_name
from limbeck.models.files.rebuild import describe
from limbeck.run.cost import SCHEMA, Cost
from limbeck.run.manifest import hardware, installed_versions
from limbeck.run.records import to_json


def cost_model(
    name: str, members: Sequence[nn.Module], paths: Sequence[Path], data: Dataset, folder: Path
) -> CostModel:
    """Export the members of an ensemble, or a single model, to the files that are measured.

    Those of embeddings give vectors of length 1, as in a bundle.

    Args:
        name: Name of the model.
        members: Models of the ensemble.
        paths: Folder of each member, as PyTorch reads it.
        data: Dataset for which they were built.
        folder: New folder for the ONNX files.

    Returns:
        The model, without test errors.
    """
    folder.mkdir()
    labels = {"labels": list(range(data.classes))}
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    inputs = data.train.inputs
    calibration = calibration_inputs(inputs)
    files: dict[str, list[Path]] = {"fp32": [], "int8": []}
    for number, member in enumerate(members):
        is_encoder = data.kind.outputs == "vectors"
        model = to_onnx(UnitVectors(member) if is_encoder else member, inputs[:2])
        small = quantize(model, calibration, folder)
        for precision, content in (("fp32", model), ("int8", small)):
            file = folder / f"{precision}-{number}.onnx"
            write_model(content, file)
            files[precision].append(file)
    can_rebuild = all(describe(member)["builder"] for member in members)
    example = cut_padding(inputs[:BATCH], data.padding)
    return CostModel(
        name=name,
        architecture=_architecture(members),
        params=sum(map(count_parameters, members)),
        folders=paths if can_rebuild else [],
        onnx=files,
        macs=sum(multiply_adds(member, example) for member in members),
        errors={},
        measure=data.kind.measure,
    )


def measure_models(models: Sequence[CostModel], data: Dataset, advance: Advance) -> Cost:
    """Measure models on inputs of a dataset.

    Args:
        models: Models to measure.
        data: Dataset for which they were built.
        advance: Callback for the progress, from 0 to 1.

    Raises:
        ResourceError: If a measurement fails.
    """
    batch = cut_padding(data.train.inputs[:BATCH], data.padding).contiguous()
    return Cost(
        schema=SCHEMA,
        rows=measure(models, batch.numpy(), advance),
        hardware=to_json(hardware()),
        versions=installed_versions(),
        batch=BATCH,
    )


def _architecture(members: Sequence[nn.Module]) -> str:
    """Return the names of the members, such as ``2 x MLP + ConvNet``."""
    counts = Counter(model_name(member) for member in members)
    names = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
    return " + ".join(names)
