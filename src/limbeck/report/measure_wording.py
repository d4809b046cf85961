"""Words and number formats of the measures by which a study is judged."""

from collections.abc import Mapping

from limbeck.evaluation.measure import (
    BITS_PER_BYTE,
    ERRORS,
    LABEL_ERRORS,
    MISSED_NEIGHBOURS,
    SQUARED_ERROR,
    Measure,
)
from limbeck.report.formats import MISSING, bits, count, digits, plural
from limbeck.report.wording_base import Column, Decimals, MeasureWording
from limbeck.run.comparison import Comparison
from limbeck.run.summary import DataFacts, Summary

_IMITATION = (
    Column("agreement", "Agreement", "agree", "percent"),
    Column("kl_to_teacher", "KL to teacher", "KL", "nats"),
    Column("seconds", "Time", "time", "seconds"),
)


class _ErrorsWording(MeasureWording):
    """Words and number formats of test errors."""

    measure = ERRORS
    title = "Test errors"
    verb = "makes"
    columns = (
        Column("errors", "Test errors", "errors", "count", always=True),
        Column("accuracy", "Accuracy", "acc.", "percent", always=True),
        Column("kappa", "Quadratic kappa", "kappa", "nats"),
        Column("nll", "NLL", "NLL", "nats", always=True),
        Column("ece", "ECE", "ECE", "nats", always=True),
        *_IMITATION,
    )
    main_metric = "accuracy"
    decimals = Decimals(single=None, mean=1, by_seed=None)
    gaps = (("errors", "Gap closed"), ("nll", "Gap closed, NLL"))
    beats_teacher = "it makes fewer errors than the teacher"
    validation_curve = "val_acc"
    has_logits = True

    def axis(self, data: DataFacts) -> str:
        return f"errors on {self.test_split(data)}"

    def level(self, value: str, data: DataFacts) -> str:
        return f"{value} errors on {self.test_split(data)}"

    def finding(self, comparison: Comparison, summary: Summary) -> str:
        amount = self.amount(comparison, "errors")
        test_split = self.test_split(summary.data)
        return f"{comparison.arm} makes {amount} {comparison.control} on {test_split}"

    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        return [
            ("Data", f"{data.name}, {data.classes:,} classes"),
            ("Samples", _splits(_samples(data))),
        ]


class _BitsPerByteWording(MeasureWording):
    """Words and number formats of bits per byte."""

    measure = BITS_PER_BYTE
    title = "Bits per byte"
    verb = "needs"
    columns = (
        Column("bits_per_byte", "Bits per byte", "bits/byte", "bits", always=True),
        Column("perplexity", "Perplexity", "perplexity", "perplexity", always=True),
        Column("nll", "Nats per token", "nats/token", "nats", always=True),
        Column("accuracy", "Top-1 accuracy", "top-1", "percent", always=True),
        Column("ece", "ECE", "ECE", "nats", always=True),
        *_IMITATION,
    )
    main_metric = "bits_per_byte"
    decimals = Decimals(single=3, mean=3, by_seed=4)
    gaps = (("nll", "Gap closed"),)
    beats_teacher = "it needs fewer bits than the teacher"
    samples_in_interval = "segments of the test text"
    more_samples = "as much test text"
    too_small = "the test text is too short"

    def axis(self, data: DataFacts) -> str:
        size = _test_size(data.bytes)
        if size is None:
            return "bits per byte of test text"
        return f"bits per byte on {size:,} bytes of test text"

    def test_split(self, data: DataFacts) -> str:
        tokens = _test_size(data.tokens)
        if tokens is None:
            return plural(data.test, "test block")
        return plural(tokens, "test token") + _bytes_in_brackets(data)

    def level(self, value: str, data: DataFacts) -> str:
        return f"{value} bits per byte of test text"

    def finding(self, comparison: Comparison, summary: Summary) -> str:
        value, amount = self.arm_mean(comparison.arm, summary), self.amount(comparison)
        return f"{comparison.arm} needs {value} bits per byte, {amount} {comparison.control}"

    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        blocks = _splits(_samples(data))
        if data.block is not None:
            blocks += f"; {plural(data.block, 'token')} each"
        return [
            ("Data", data.name),
            ("Tokenizer", f"{data.tokenizer or MISSING}, vocabulary of {data.classes:,}"),
            ("Blocks", blocks),
            ("Tokens", _splits(data.tokens or {}) + _bytes_in_brackets(data)),
        ]


class _SquaredErrorWording(MeasureWording):
    """Words and number formats of the squared error of a regression."""

    measure = SQUARED_ERROR
    title = "Squared error"
    verb = "has"
    columns = (
        Column("squared_error", "Squared error", "sq. error", "nats", always=True),
        Column("r_squared", "R²", "R²", "nats", always=True),
        Column("mae", "MAE", "MAE", "digits", always=True),
        Column("rmse", "RMSE", "RMSE", "digits", always=True),
        Column("distance_to_teacher", "Distance to teacher", "distance", "nats"),
        Column("seconds", "Time", "time", "seconds"),
    )
    main_metric = "r_squared"
    decimals = Decimals(single=4, mean=4, by_seed=4)
    gaps = (("squared_error", "Gap closed"),)
    beats_teacher = "it has a smaller squared error than the teacher"
    less = "less"
    least = "least"

    def axis(self, data: DataFacts) -> str:
        return f"squared error on {self.test_split(data)}"

    def level(self, value: str, data: DataFacts) -> str:
        return f"a squared error of {value} on {self.test_split(data)}"

    def finding(self, comparison: Comparison, summary: Summary) -> str:
        value, amount = self.arm_mean(comparison.arm, summary), self.amount(comparison)
        return f"{comparison.arm} has a squared error of {value}, {amount} {comparison.control}"

    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        return [
            ("Data", f"{data.name}, {plural(data.classes, 'target')}"),
            ("Samples", _splits(_samples(data))),
        ]


class _LabelErrorsWording(MeasureWording):
    """Words and number formats of the wrong labels of models of several labels."""

    measure = LABEL_ERRORS
    title = "Wrong labels"
    verb = "has"
    columns = (
        Column("label_errors", "Wrong labels", "wrong", "count", always=True),
        Column("label_accuracy", "Labels right", "right", "percent", always=True),
        Column("mean_average_precision", "mAP", "mAP", "nats", always=True),
        Column("f1_micro", "F1, micro", "F1 micro", "nats", always=True),
        Column("f1_macro", "F1, macro", "F1 macro", "nats", always=True),
        Column("accuracy", "All labels right", "all", "percent", always=True),
        Column("nll", "NLL", "NLL", "nats", always=True),
        *_IMITATION,
    )
    main_metric = "mean_average_precision"
    decimals = Decimals(single=None, mean=1, by_seed=None)
    gaps = (("label_errors", "Gap closed"),)
    beats_teacher = "it has fewer wrong labels than the teacher"

    def axis(self, data: DataFacts) -> str:
        return f"wrong labels on {self.test_split(data)}"

    def level(self, value: str, data: DataFacts) -> str:
        return f"{value} wrong labels on {self.test_split(data)}"

    def finding(self, comparison: Comparison, summary: Summary) -> str:
        amount = self.amount(comparison, "wrong labels")
        test_split = self.test_split(summary.data)
        return f"{comparison.arm} has {amount} {comparison.control} on {test_split}"

    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        return [
            ("Data", f"{data.name}, {plural(data.classes, 'label')}"),
            ("Samples", _splits(_samples(data))),
        ]


class _MissedNeighboursWording(MeasureWording):
    """Words and number formats of the missed neighbours of embeddings."""

    measure = MISSED_NEIGHBOURS
    title = "Missed neighbours"
    verb = "misses"
    columns = (
        Column("missed_neighbours", "Missed neighbours of 10", "missed", "bits", always=True),
        Column("rank_correlation", "Rank correlation", "rank corr.", "bits", always=True),
        Column("cosine_to_teacher", "Cosine to teacher", "cosine", "bits", always=True),
        Column("probe_accuracy", "Probe accuracy", "probe", "percent"),
        Column("seconds", "Time", "time", "seconds"),
    )
    main_metric = "rank_correlation"
    decimals = Decimals(single=3, mean=3, by_seed=3)
    gaps = (("missed_neighbours", "Gap closed"),)
    beats_teacher = "it misses fewer neighbours than the teacher"
    test_sample = "test text"
    samples_in_interval = "test texts"
    more_samples = "as many test texts"

    def axis(self, data: DataFacts) -> str:
        return f"missed neighbours of 10 on {self.test_split(data)}"

    def level(self, value: str, data: DataFacts) -> str:
        return f"{value} of 10 neighbours on {self.test_split(data)}"

    def finding(self, comparison: Comparison, summary: Summary) -> str:
        value, amount = self.arm_mean(comparison.arm, summary), self.amount(comparison)
        return (
            f"{comparison.arm} misses {value} of the teacher's 10 nearest texts, {amount} "
            f"{comparison.control}"
        )

    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        return [
            ("Data", f"{data.name}, vectors of {plural(data.classes, 'dimension')}"),
            ("Texts", _splits(_samples(data))),
        ]


def _samples(data: DataFacts) -> dict[str, int]:
    return {"train": data.train, "val": data.val, "test": data.test}


def _splits(sizes: Mapping[str, int]) -> str:
    """Known sizes of the splits: ``900 training, 50 validation, 50 test``."""
    names = {"train": "training", "val": "validation", "test": "test"}
    splits = [split for split in names if split in sizes]
    return ", ".join(f"{sizes[split]:,} {names[split]}" for split in splits)


def _test_size(sizes: Mapping[str, int] | None) -> int | None:
    return None if sizes is None else sizes.get("test")


def _bytes_in_brackets(data: DataFacts) -> str:
    size = _test_size(data.bytes)
    return "" if size is None else f" ({plural(size, 'byte')})"


ERRORS_WORDING: MeasureWording = _ErrorsWording()
BITS_PER_BYTE_WORDING: MeasureWording = _BitsPerByteWording()
SQUARED_ERROR_WORDING: MeasureWording = _SquaredErrorWording()
LABEL_ERRORS_WORDING: MeasureWording = _LabelErrorsWording()
MISSED_NEIGHBOURS_WORDING: MeasureWording = _MissedNeighboursWording()
WORDINGS = {
    words.measure.key: words
    for words in (
        ERRORS_WORDING,
        BITS_PER_BYTE_WORDING,
        SQUARED_ERROR_WORDING,
        LABEL_ERRORS_WORDING,
        MISSED_NEIGHBOURS_WORDING,
    )
}
"""Wordings by the key of their measure."""


def wording_of(summary: Summary) -> MeasureWording:
    """The wording of the measure by which a study is judged."""
    return WORDINGS[summary.measure]


def value_text(measure: Measure, value: object) -> str:
    """Return a result of one model or a mean of several as text, without its unit."""
    if measure.is_integer:
        return count(value)
    return bits(value) if measure is BITS_PER_BYTE else digits(value)
