"""The 8-bit model of a bundle: whole if the gate holds, otherwise with some layers in float32."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck._base.progress import Advance
from limbeck.data import Dataset
from limbeck.deploy.bundle import golden_inputs
from limbeck.deploy.default_precision import milliseconds_per_input
from limbeck.deploy.markdown import first_names, table
from limbeck.deploy.mixed_precision import MixedModel, MixedPrecision
from limbeck.deploy.onnx_export import calibration_inputs, onnx_logits, quantize
from limbeck.deploy.parity import gate_of
from limbeck.deploy.stage import Stage
from limbeck.report.formats import file_size, milliseconds

if TYPE_CHECKING:
    from onnx import ModelProto

STAGE = "onnx int8"
MAX_GAIN = 0.9
"""Largest size or time of a model, as a share of that in float32, that is worth a second file."""
FLOAT, WHOLE, MIXED = "float32", "all layers in 8 bits", "8 bits with float32 layers"
"""Names of the models that are compared."""


@dataclass(frozen=True)
class FloatLayers:
    """What an 8-bit model with some layers in float32 costs, and why it has them.

    Attributes:
        names: Names of the layers in float32, the most sensitive first.
        layers: Number of all layers with weights.
        reason: Reason why the model with all layers in 8 bits was refused.
        bytes: Size of each model's file, by name.
        milliseconds: Time of each model for one input on this machine, by name.
        tried: Number of models that were compared on the validation split.
    """

    names: tuple[str, ...]
    layers: int
    reason: str
    bytes: Mapping[str, int]
    milliseconds: Mapping[str, float]
    tried: int

    @property
    def is_worthwhile(self) -> bool:
        """Whether the model is clearly smaller or faster than the one in float32."""
        return any(
            costs[MIXED] <= MAX_GAIN * costs[FLOAT] for costs in (self.bytes, self.milliseconds)
        )

    def sentence(self) -> str:
        """Say which layers are in float32, and what that costs."""
        costs = "; ".join(
            f"{name}: {file_size(size)}, {milliseconds(self.milliseconds[name])} per input"
            for name, size in self.bytes.items()
        )
        return (
            f"In the 8-bit model, {len(self.names)} of {self.layers} layers stay in float32 "
            f"({', '.join(self.names)}), because with all in 8 bits it fails ({self.reason}). "
            f"{costs}."
        )

    def for_card(self) -> list[str]:
        """Return paragraphs of the model card, in Markdown."""
        rows = [["model", "file", "time for one input at export"]]
        for name, size in self.bytes.items():
            rows.append([name, file_size(size), milliseconds(self.milliseconds[name])])
        return [
            f"In the 8-bit model, {len(self.names)} of {self.layers} layers stay in float32: "
            f"{first_names(self.names)}. They were chosen on the validation split, because the "
            f"model with all layers in 8 bits failed the check above ({self.reason}).",
            table(rows),
        ]


@dataclass(frozen=True)
class Int8Model:
    """Result of :func:`convert_to_int8`.

    Attributes:
        stage: Stage of the model that was accepted, or of the one with all layers in 8 bits.
        content: Bytes of the ONNX file; None if no model was accepted.
        float_layers: Layers in float32; None if there are none.
        note: Sentence about layers in float32 or about the reason why there is no model; empty for
            a model with all layers in 8 bits.
    """

    stage: Stage
    content: bytes | None = None
    float_layers: FloatLayers | None = None
    note: str = ""


def convert_to_int8(
    model: "ModelProto",
    reference: np.ndarray,
    data: Dataset,
    share: float,
    folder: Path,
    advance: Advance,
) -> Int8Model:
    """Quantise a model, and leave layers in float32 if the gate refuses it otherwise.

    The layers are chosen on the validation split. The test split only answers whether the gate
    holds, for at most three models.

    Args:
        model: Model in float32, of :func:`limbeck.deploy.onnx_export.to_onnx`.
        reference: Test outputs of this model, ``[N, classes]``.
        data: Dataset of the run.
        share: Allowed share of additional errors.
        folder: Folder for temporary files.
        advance: Callback for the progress of the search for layers, from 0 to 1.

    Raises:
        ConfigError: If the quantiser cannot handle the model.
        ExportError: If a model cannot be run.
    """
    test = data.open_test()
    gate = gate_of(data, test, share=share)

    def check(content: bytes) -> Stage:
        outputs = onnx_logits(content, "int8", test.inputs, data.output_names, data.padding)
        return gate.check_similar(STAGE, outputs, reference)

    small = quantize(model, calibration_inputs(data.train.inputs), folder)
    whole = small.SerializeToString(deterministic=True)
    whole_stage = check(whole)
    if whole_stage.passed:
        return Int8Model(whole_stage, whole)
    reason = whole_stage.failures[0]
    end = "does not help enough"
    for mixed in MixedPrecision(model, data, share, folder, advance).candidates():
        stage = check(mixed.content)
        if not stage.passed:
            continue
        float32 = model.SerializeToString(deterministic=True)
        layers = _float_layers(mixed, {FLOAT: float32, WHOLE: whole}, reason, data)
        if layers.is_worthwhile:
            return Int8Model(stage, mixed.content, layers, layers.sentence())
        end = (
            f"leaves hardly anything in 8 bits: {len(mixed.float_layers)} of {mixed.layers} "
            "layers would have to be in float32, and the model is neither smaller nor faster"
        )
        break
    return Int8Model(
        whole_stage,
        note=f"The 8-bit model makes too many additional errors ({reason}), so it was left out. "
        f"Keeping layers in float32 {end}. Allow more errors with int8_share=, or set int8=true "
        "to see them.",
    )


def _float_layers(
    mixed: MixedModel, others: Mapping[str, bytes], reason: str, data: Dataset
) -> FloatLayers:
    """Measure a model with layers in float32 beside the others."""
    models = {**others, MIXED: mixed.content}
    return FloatLayers(
        mixed.float_layers,
        mixed.layers,
        reason,
        {name: len(content) for name, content in models.items()},
        milliseconds_per_input(models, golden_inputs(data), data.output_names),
        mixed.tried,
    )
