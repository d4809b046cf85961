"""Confidences above which the answers of an exported student have a guaranteed error rate."""

from collections.abc import Mapping

from limbeck.data import Dataset
from limbeck.deploy.choice import number_of_students
from limbeck.deploy.onnx_export import onnx_logits
from limbeck.evaluation.abstention import ERROR_RATES, answers_of, safe_threshold
from limbeck.run.summary import Summary


def find_thresholds(
    models: Mapping[str, bytes],
    data: Dataset,
    temperature: float,
    summary: Summary,
    adjusted: str | None = None,
    *,
    int8_models: int = 1,
) -> dict[str, dict[str, float]]:
    """Find the smallest confidence of each model for each error rate that can be guaranteed.

    The correction is for the choice among all students of the run, even if the user named one: the
    report, which uses the validation split, may have suggested it.

    Args:
        models: ONNX models by precision.
        data: Dataset of the run.
        temperature: Temperature of the confidences.
        summary: Summary of the run.
        adjusted: Method that fitted constants, which are part of the models; None without any.
        int8_models: Number of 8-bit models among which one was chosen on the validation split.

    Returns:
        The confidences by precision and error rate, such as ``1%``. There are none with the
        constants of ``kappa``, which were fitted on the same validation samples.
    """
    labels, candidates = data.val.labels.numpy(), number_of_students(summary)
    thresholds: dict[str, dict[str, float]] = {precision: {} for precision in models}
    if adjusted == "kappa":
        return thresholds
    for precision, content in models.items():
        logits = onnx_logits(content, precision, data.val.inputs, data.class_names, data.padding)
        answers = answers_of(logits, labels, temperature)
        number = candidates * (int8_models if precision == "int8" else 1)
        rates = {rate: safe_threshold(answers, rate, candidates=number) for rate in ERROR_RATES}
        thresholds[precision] = {
            f"{100 * rate:g}%": threshold
            for rate, threshold in rates.items()
            if threshold is not None
        }
    return thresholds
