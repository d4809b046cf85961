"""What untrained students need on the device: size, latency and memory of the exported model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError, ResourceError
from limbeck._base.files import write_text
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.data.padding import cut_padding
from limbeck.deploy.cost import BATCH, CostModel, measure, multiply_adds
from limbeck.deploy.onnx_export import calibration_inputs, quantize, to_onnx, write_model
from limbeck.evaluation.latency_model import LatencyModel, fit_latency
from limbeck.models import count_parameters, model_name
from limbeck.run.search import Trial
from limbeck.search.budget import Budget, Needs
from limbeck.search.device import Device
from limbeck.search.space import architecture_key
from limbeck.study.arms import build

BYTES_OF_WEIGHT = {"fp32": 4, "int8": 1}
FAR = 2.0
"""Share of the budget from which the weights alone show that a student is over it."""


@dataclass(frozen=True)
class Candidate:
    """An architecture with what it needs.

    Attributes:
        architecture: Name of the architecture.
        params: Number of parameters.
        macs: Multiply-adds for one input; None if it was not counted.
        needs: Size, latency and memory.
        is_predicted: Whether the latency is that of a latency model and was not measured.
    """

    architecture: str
    params: int
    macs: float | None
    needs: Needs
    is_predicted: bool = False


class NeedsMeter:
    """Measurement of untrained students, each architecture once.

    The size is measured first, and latency and memory only if it is within the budget. A student
    whose weights alone are twice the budget is not exported, and the latency of one that a model of
    earlier latencies shows to be too slow is not measured.

    Args:
        data: Dataset for which the students are built.
        budget: Budget of the search.
        device: Device whose latency counts; None for this machine.
        trials: Earlier trials, whose architectures are not measured again.
    """

    def __init__(
        self,
        data: Dataset,
        budget: Budget,
        device: Device | None = None,
        trials: Sequence[Trial] = (),
    ):
        self.data, self.budget, self.device = data, budget, device
        self._candidates: dict[str, Candidate] = {}
        self._kinds: dict[str, str] = {}
        for trial in trials:
            if not trial.params:  # it could not be built or exported
                continue
            needs = Needs(trial.size, trial.latency, trial.memory)
            candidate = Candidate(
                trial.architecture, trial.params, trial.macs, needs, trial.is_predicted
            )
            key = architecture_key(trial.settings)
            self._candidates[key] = candidate
            self._kinds[key] = trial.settings["student"]

    def measure(self, settings: dict[str, Any], builder: Callable[..., nn.Module]) -> Candidate:
        """Measure the student that the settings describe.

        Args:
            settings: Settings of the architecture.
            builder: Builder of the student.

        Raises:
            ConfigError: If it cannot be built or exported.
            ResourceError: If a measurement fails.
        """
        key = architecture_key(settings)
        if key not in self._candidates:
            try:
                model = build(builder, self.data, 0)
            except ResourceError as error:  # it is too large for this machine
                raise ConfigError(str(error)) from None
            self._candidates[key] = self._measure(model, settings["student"])
            self._kinds[key] = settings["student"]
        return self._candidates[key]

    def _latency_model(self, kind: str) -> LatencyModel | None:
        """Return the latency model of the students of a kind that were measured so far."""
        candidates = [
            candidate
            for key, candidate in self._candidates.items()
            if self._kinds[key] == kind
            and candidate.needs.latency is not None
            and not candidate.is_predicted
        ]
        return fit_latency(
            [candidate.macs or 0.0 for candidate in candidates],
            [candidate.params for candidate in candidates],
            [candidate.needs.latency or 0.0 for candidate in candidates],
        )

    def _measure(self, model: nn.Module, kind: str) -> Candidate:
        params = count_parameters(model)
        weights = float(params * BYTES_OF_WEIGHT[self.budget.precision])
        candidate = Candidate(model_name(model), params, None, Needs(size=weights))
        if self.budget.share(candidate.needs) > FAR and not self.budget.fits(candidate.needs):
            return candidate
        with scratch_folder() as folder:
            graph = to_onnx(model.eval(), self.data.train.inputs[:2])
            if self.budget.precision == "int8":
                graph = quantize(graph, calibration_inputs(self.data.train.inputs), folder)
            file = folder / "student.onnx"
            write_model(graph, file)
            example = cut_padding(self.data.train.inputs[:BATCH], self.data.padding).contiguous()
            candidate = replace(
                candidate,
                macs=multiply_adds(model, example),
                needs=Needs(size=float(file.stat().st_size)),
            )
            limits = self.budget.limits
            is_timed = limits.latency is not None or limits.memory is not None
            if not is_timed or not self.budget.fits(candidate.needs):
                return candidate
            latencies = self._latency_model(kind)
            macs = candidate.macs or 0.0
            limit = limits.latency
            if latencies and limit is not None and latencies.exceeds(limit, macs, params):
                needs = candidate.needs._replace(latency=latencies.predict(macs, params))
                return replace(candidate, needs=needs, is_predicted=True)
            labels = {"labels": list(range(self.data.classes))}
            write_text(folder / "labels.json", json.dumps(labels))
            row = measure(
                [
                    CostModel(
                        name="student",
                        architecture=candidate.architecture,
                        params=params,
                        folders=[],
                        onnx={self.budget.precision: [file]},
                        macs=int(candidate.macs or 0),
                        errors={},
                    )
                ],
                example.numpy(),
                lambda *_: None,
            )[0]
        if limits.memory is not None and row.memory is None:
            raise ResourceError(
                "budget.memory: this system does not tell how much memory a process takes. Leave "
                "it out, or search on Linux."
            )
        factor = 1.0 if self.device is None else self.device.factor
        needs = candidate.needs._replace(
            latency=None if limits.latency is None else factor * row.one_core.median,
            memory=None if limits.memory is None else row.memory,
        )
        return replace(candidate, needs=needs)
