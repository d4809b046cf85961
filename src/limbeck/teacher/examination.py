"""Examination of a teacher before anything is trained, on validation samples alone."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from limbeck._base.errors import LimbeckWarning, TeacherError
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.data.randomness import random_order
from limbeck.evaluation.calibration import fit_temperature
from limbeck.evaluation.metrics import expected_calibration_error
from limbeck.run.finding import NOTE, STOP, WARNING, Finding, with_level
from limbeck.teacher.class_order import OrderTest, compare_orders
from limbeck.teacher.normalization import NormalizationTest, better_normalization
from limbeck.teacher.remedies import Remedies
from limbeck.teacher.signal import VALUES, LiveTeacher
from limbeck.teacher.value_examination import judge_labels, judge_values
from limbeck.teacher.vector_examination import judge_vectors

MIN_SAMPLES, MAX_SAMPLES = 200, 2000
"""Number of validation samples that an examination uses, if there are as many."""
MAX_VALUES = MAX_SAMPLES * 3 * 64 * 64
"""Number of input values above which fewer samples are used: large images take more time."""
BATCH = 100
MIN_SAMPLES_OF_CHANCE = 30
"""Smallest number of samples with which a teacher is compared with chance."""
CHANCE_LEVEL = 0.05
LOWEST_LOGIT = -1e4
TINY = 1e-30
"""Probability in place of zero, whose logarithm is infinite."""
CERTAIN = 0.9999
"""Confidence above which every answer is taken for a label."""


@dataclass(frozen=True)
class Sample:
    """Validation samples in random order.

    Attributes:
        inputs: Inputs, ``[N, ...]``.
        labels: Labels, ``[N]``.
    """

    inputs: Tensor
    labels: np.ndarray


def draw_sample(data: Dataset, members: int = 1) -> Sample:
    """Draw the validation samples of an examination, the same ones every time.

    Args:
        data: Dataset of the study.
        members: Number of models that share the work.
    """
    values = max(1, data.val.inputs[0].numel()) * members
    count = max(MIN_SAMPLES, min(MAX_SAMPLES // members, MAX_VALUES // values))
    split = data.val.take(random_order(len(data.val), 0)[:count])
    return Sample(split.inputs, split.labels.numpy())


def examine_models(
    models: Sequence[nn.Module],
    data: Dataset,
    remedies: Sequence[Remedies],
    *,
    device: torch.device | None = None,
) -> list[Finding]:
    """Examine the models of a teacher; a language model is only asked for finite logits.

    Args:
        models: Models of the teacher, with as many outputs as the data has classes.
        data: Dataset of the study. Only its validation split is used.
        remedies: Lines that mend each model.
        device: Device on which the models run; None for the CPU.

    Returns:
        The findings, the most serious first.
    """
    sample = draw_sample(data, len(models))
    findings = []
    for number, (model, lines) in enumerate(zip(models, remedies, strict=True)):
        name = "the teacher" if len(models) == 1 else f"member {number} of the teacher"
        examination = _Examination(data, sample, lines, name, device or torch.device("cpu"))
        findings += examination.run(model)
    return sorted(findings, key=lambda finding: (STOP, WARNING, NOTE).index(finding.level))


def examine_answers(
    logits: Tensor, labels: Tensor, data: Dataset, remedies: Remedies
) -> list[Finding]:
    """Examine stored answers to labelled samples.

    Args:
        logits: Logits, ``[N, C]``.
        labels: Labels, ``[N]``.
        data: Dataset of the study.
        remedies: Advice about the file.

    Returns:
        The findings; none without a sample.
    """
    order = random_order(len(labels), 0)[:MAX_SAMPLES]
    if not len(order):
        return []
    sample = Sample(logits[order], labels[order].numpy())
    examination = _Examination(data, sample, remedies, "the teacher", torch.device("cpu"))
    return examination.judge(logits[order].float().numpy())


def explain_outputs(
    model: nn.Module, outputs: int, data: Dataset, remedies: Remedies, device: torch.device
) -> str:
    """Explain a teacher with more outputs than the data has classes: which of them are its classes.

    Args:
        model: Teacher.
        outputs: Number of its outputs.
        data: Dataset of the study. Only its validation split is used.
        remedies: Lines that mend the teacher.
        device: Device on which the teacher runs.
    """
    sample = draw_sample(data)
    logits = np.nan_to_num(answers_of(model, sample.inputs, device), nan=LOWEST_LOGIT)
    test = compare_orders(logits, sample.labels, data.class_names)
    if not test.is_plausible:
        return (
            f"No {data.classes} of the outputs fit the classes of the validation samples. Name the "
            "outputs in their order with teacher.classes or teacher.map, or choose the dataset the "
            "teacher was trained on (data=...)."
        )
    pattern = f" ({test.order.pattern})" if test.order.pattern else ""
    line = remedies.order(test.order.columns.tolist(), data.class_names, outputs)
    return (
        f"With the {data.classes} outputs that fit best{pattern}, it errs on "
        f"{percent(test.error_rate)} of {test.samples} held-out validation samples. To use them: "
        f"{line}"
    )


def raise_or_warn(findings: Sequence[Finding], switch_off: str) -> None:
    """Stop a run, or warn, if an examination found something.

    Args:
        findings: Findings.
        switch_off: Sentence that says how to go on without an examination.

    Raises:
        TeacherError: If a finding is a reason to stop.
    """
    for finding in with_level(findings, WARNING):
        warnings.warn(finding.message, LimbeckWarning, stacklevel=2)
    stops = with_level(findings, STOP)
    if stops:
        messages = [finding.message for finding in stops]
        raise TeacherError("\n".join([*messages, switch_off]))


@torch.no_grad()
def answers_of(
    model: nn.Module, inputs: Tensor, device: torch.device, combine: str = "probabilities"
) -> np.ndarray:
    """Compute the logits of a model in batches; random numbers of the process are not used up.

    Args:
        model: Teacher.
        inputs: Inputs, ``[N, ...]``.
        device: Device on which the model runs.
        combine: Kind of the outputs, see :class:`~limbeck.teacher.signal.LiveTeacher`.
    """
    signal = LiveTeacher(model, combine=combine)
    with torch.random.fork_rng(devices=[]):
        parts = [signal.answer(as_float(part).to(device)) for part in inputs.split(BATCH)]
    return torch.cat([part.float().cpu() for part in parts]).numpy()


class _Examination:
    """Examination of one model.

    Args:
        data: Dataset of the study.
        sample: Validation samples.
        remedies: Lines that mend the model.
        name: Name of the model, for findings.
        device: Device on which it runs.
    """

    def __init__(
        self, data: Dataset, sample: Sample, remedies: Remedies, name: str, device: torch.device
    ):
        self.data, self.sample, self.remedies = data, sample, remedies
        self.name, self.device = name, device

    def run(self, model: nn.Module) -> list[Finding]:
        """Return the findings about a model."""
        if not self.data.kind.has_classes:
            return self.judge(answers_of(model, self.sample.inputs, self.device, VALUES))
        logits = answers_of(model, self.sample.inputs, self.device)
        broken = int((~np.isfinite(logits.max(-1))).reshape(len(logits), -1).any(1).sum())
        if broken:
            return [self._not_finite(broken)]
        if self.data.positions is not None:
            return []
        return self.judge(logits, model)

    def judge(self, logits: np.ndarray, model: nn.Module | None = None) -> list[Finding]:
        """Return the findings about answers, and about the inputs of the model that gave them."""
        if self.data.kind.outputs == "vectors":
            return [judge_vectors(logits, self.name)]
        if not self.data.kind.has_classes:
            judge = judge_values if self.data.kind.outputs == "values" else judge_labels
            return [judge(logits, self.sample.labels, self.data, self.name)]
        logits = np.maximum(logits, LOWEST_LOGIT)  # instead of -inf for an excluded class
        findings = []
        if are_probabilities(logits):
            findings.append(self._probabilities())
            logits = np.log(np.maximum(logits, TINY))
        order = compare_orders(logits, self.sample.labels, self.data.class_names)
        columns = np.arange(self.data.classes)
        if order.is_better:
            findings.append(self._order(order))
            columns = order.order.columns
        normalization = None
        if model is not None:
            normalization = self._better_normalization(model, columns)
        if normalization is not None:
            findings.append(self._normalization(normalization))
        if findings:
            return findings
        wrong = logits.argmax(1) != self.sample.labels
        if is_chance(logits.argmax(1), self.sample.labels):
            return [self._chance(float(wrong.mean()))]
        return [self._summary(logits, float(wrong.mean()))]

    def _better_normalization(
        self, model: nn.Module, columns: np.ndarray
    ) -> NormalizationTest | None:
        def answer(model: nn.Module, inputs: Tensor) -> np.ndarray:
            return answers_of(model, inputs, self.device)[:, columns]

        sample = self.sample
        return better_normalization(model, sample.inputs, sample.labels, answer, self.data)

    # Findings -------------------------------------------------------------------------------------

    def _finding(self, level: str, text: str, evidence: str = "", remedy: str = "") -> Finding:
        text = text[0].upper() + text[1:]
        return Finding(level=level, subject="teacher", text=text, evidence=evidence, remedy=remedy)

    def _not_finite(self, broken: int) -> Finding:
        return self._finding(
            STOP,
            f"the logits of {self.name} are not finite.",
            f"They are NaN or infinite for {broken} of {len(self.sample.labels)} validation "
            "samples. Check the teacher, or compute with trainer.precision=32-true.",
        )

    def _probabilities(self) -> Finding:
        return self._finding(
            STOP,
            f"the outputs of {self.name} are probabilities, but logits are expected.",
            "All are from 0 to 1 and each row sums to 1. As logits they are nearly equal, so a "
            "student would learn next to nothing from them.",
            self.remedies.probabilities(),
        )

    def _order(self, test: OrderTest) -> Finding:
        pattern = f": {test.order.pattern}" if test.order.pattern else ""
        assert test.present_error_rate is not None
        evidence = (
            f"It errs on {percent(test.present_error_rate)} of {test.samples} held-out validation "
            f"samples as it is, and on {percent(test.error_rate)} in that order "
            f"(p {p_text(test.p_value)})."
        )
        columns = test.order.columns.tolist()
        line = self.remedies.order(columns, self.data.class_names, len(columns))
        return self._finding(
            STOP,
            f"the classes of {self.name} are in another order than those of the data{pattern}.",
            evidence,
            line,
        )

    def _normalization(self, test: NormalizationTest) -> Finding:
        return self._finding(
            STOP,
            f"{self.name} expects inputs that are normalised in another way: {WORDS[test.name]}.",
            f"It errs on {percent(test.present_error_rate)} of {test.samples} held-out validation "
            f"samples as it is, and on {percent(test.error_rate)} with that normalisation "
            f"(p {p_text(test.p_value)}).",
            self.remedies.normalization(test.name, test.statistics),
        )

    def _chance(self, error_rate: float) -> Finding:
        return self._finding(
            WARNING,
            f"{self.name} is no better than chance.",
            f"It errs on {percent(error_rate)} of {len(self.sample.labels)} validation samples, as "
            "answers would that ignore the input. Check its weights, its classes and the "
            "preprocessing of its inputs.",
        )

    def _summary(self, logits: np.ndarray, error_rate: float) -> Finding:
        labels = self.sample.labels
        confidence = torch.from_numpy(logits).softmax(-1).amax(-1)
        if bool((confidence > CERTAIN).all()):  # a calibration of labels means nothing
            evidence = "Its answers name a class, without a confidence."
        else:
            error = expected_calibration_error(torch.from_numpy(logits), torch.from_numpy(labels))
            evidence = (
                f"Calibration error {percent(error)}; its confidence is right at temperature "
                f"{fit_temperature(logits, labels):.2g}."
            )
        return self._finding(
            NOTE,
            f"{self.name} errs on {percent(error_rate)} of {len(labels)} validation samples.",
            evidence,
        )


WORDS = {
    "none": "values from 0 to 1",
    "symmetric": "values from -1 to 1",
    "imagenet": "the mean and standard deviation of ImageNet",
    "data": "the mean and standard deviation of the training inputs",
}
"""Descriptions of the normalisations."""


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether outputs are probabilities: from 0 to 1, with rows that sum to 1."""
    is_inside = outputs.min() >= 0 and outputs.max() <= 1 + 1e-3
    return bool(is_inside and np.abs(outputs.sum(-1) - 1).max() < 1e-2)


def is_chance(top: np.ndarray, labels: np.ndarray) -> bool:
    """Whether predictions are not shown to be better than some that ignore the input.

    Args:
        top: Predicted class of each sample, ``[N]``.
        labels: Labels, ``[N]``.
    """
    count = len(labels)
    if count < MIN_SAMPLES_OF_CHANCE:
        return False
    classes = int(max(top.max(), labels.max())) + 1
    shares = [np.bincount(values, minlength=classes) / count for values in (top, labels)]
    expected = float((shares[0] * shares[1]).sum())
    right = int((top == labels).sum())
    return bool(stats.binom.sf(right - 1, count, expected) > CHANCE_LEVEL)


def percent(share: float) -> str:
    """Format a share, such as ``3.2 %``."""
    return f"{100 * share:.1f} %"


def p_text(p_value: float) -> str:
    """Format a p-value with its sign, such as ``< 1e-6``."""
    return "< 1e-6" if p_value < 1e-6 else f"= {p_value:.1g}"
