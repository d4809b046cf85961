"""What a study is judged by: errors on test samples, or bits per byte of test text."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from limbeck._base.errors import UntrustedFileError
from limbeck.report.formats import MISSING, count, fixed, known, p_value, plural

Arm = Mapping[str, Any]
"""An arm of ``summary.json``."""
Data = Mapping[str, Any]
"""``data`` of ``summary.json``."""


@dataclass(frozen=True)
class Column:
    """A column of the results: its key in a metrics object, a full and a short heading, and its
    number format.

    A column that is not there ``always`` is left out where no row has a number for it.
    """

    key: str
    title: str
    short: str
    kind: str
    always: bool = False


@dataclass(frozen=True)
class Measure:
    """The number of a metrics object that decides, how it is worded and how it looks; less of it is
    better.

    Attributes:
        key: of the number in a metrics object.
        noun: its name behind "the fewest".
        title: its name as a heading.
        columns: of the results table.
        decimals: of the number of one model, of a mean over seeds, and in the table of seeds; None
            where whole.
        delta: key of the change in a comparison.
        p: key and heading of the p-value in a comparison.
        p_of: what stands before and behind the p-value.
        gaps: keys and headings in ``gap_closed``; the headline tells the first.
        differs: a sentence about an arm and its control, with the fields of :meth:`finding`.
        equals: the same where the change is 0 as shown.
        verb: what an arm does with the number.
        has: what one model has, with the fields ``value`` and ``test``.
        past: what an arm does that is better than the teacher.
        too_few: why the test split may not be enough.
        curve: the metric of ``metrics.csv`` beside the training loss.
        keeps_logits: whether ``predictions.npz`` holds what recall and reliability are drawn from.
        unit: the title of an axis.
        tested: what the test split holds.
        settings: names and values that describe the data.
    """

    key: str
    noun: str
    title: str
    columns: tuple[Column, ...]
    decimals: tuple[int | None, int, int | None]
    delta: str
    p: tuple[str, str]
    p_of: tuple[str, str]
    gaps: tuple[tuple[str, str], ...]
    differs: str
    equals: str
    verb: str
    has: str
    past: str
    too_few: str
    curve: str
    keeps_logits: bool
    unit: Callable[[Data], str]
    tested: Callable[[Data], str]
    settings: Callable[[Data], list[tuple[str, str]]]

    @property
    def whole(self) -> bool:
        """Whether the number of one model is a whole one."""
        return self.decimals[0] is None

    @property
    def lower(self) -> str:
        """The title inside a sentence."""
        return self.title[0].lower() + self.title[1:]

    def of(self, metrics: Mapping[str, Any]) -> float | None:
        """The number in a metrics object; None where it is missing or not finite."""
        value = metrics.get(self.key)
        return value if known(value) else None

    def of_seeds(self, arm: Arm) -> list[float]:
        """On the test split, seed by seed."""
        return [value for seed in arm["seeds"] if (value := self.of(seed["test"])) is not None]

    def on_validation(self, arm: Arm) -> float:
        """Mean over seeds on the validation split; infinite where a seed has none, so that it is
        never chosen.
        """
        found = [self.of(seed["val"]) for seed in arm["seeds"]]
        return statistics.fmean(math.inf if value is None else value for value in found)

    def number(self, value: Any) -> str:
        """The number of one model."""
        return _shown(value, self.decimals[0])

    def mean(self, value: Any) -> str:
        """A mean over seeds."""
        return _shown(value, self.decimals[1])

    def of_one_seed(self, value: Any, *, signed: bool = False) -> str:
        """The number or its change in the table of seeds."""
        return _shown(value, self.decimals[2], signed=signed)

    def mean_and_sd(self, mean: Any, sd: Any) -> str:
        """``85.3 ± 4.2``; the mean alone where there is one seed."""
        return f"{self.mean(mean)} ± {self.mean(sd)}" if known(sd) else self.number(mean)

    def change(self, comparison: Mapping[str, Any], *, signed: bool = True) -> str:
        """The mean change of a comparison: of whole numbers with a decimal where it is a mean over
        several seeds.
        """
        delta = comparison[self.delta]
        value = delta["mean"] if signed else abs(delta["mean"])
        whole = self.whole and not delta["ci95"]
        return _shown(value, None if whole else self._digits(value), signed=signed)

    def interval(self, comparison: Mapping[str, Any]) -> str:
        """The 95 % interval of the change, ``−30.1 to −16.5``, or a dash with one seed."""
        delta = comparison[self.delta]
        return " to ".join(
            fixed(bound, self._digits(delta["mean"])) for bound in delta["ci95"] or (None,)
        )

    def _digits(self, change: float) -> int:
        """Decimals of a change: one more where it would lose most of its digits."""
        digits = self.decimals[1]
        return digits if self.whole or abs(change) >= 10 ** (1 - digits) else digits + 1

    def finding(self, comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
        """What arm and control do, as the beginning of a sentence."""
        size = self.change(comparison, signed=False)
        arm = next((arm for arm in summary["arms"] if arm["name"] == comparison["arm"]), None)
        sentence = self.differs if any(digit in size for digit in "123456789") else self.equals
        return sentence.format(
            arm=comparison["arm"],
            control=comparison["control"],
            size=size,
            more="fewer" if comparison[self.delta]["mean"] < 0 else "more",
            value=self.mean(None if arm is None else self.of(arm["mean"])),
            test=f"{summary['data']['test']:,}",
        )

    def evidence(self, comparison: Mapping[str, Any]) -> str:
        """The p-value of a comparison and what it is of; empty where there is none."""
        value, (before, behind) = comparison.get(self.p[0]), self.p_of
        return f"{before}{p_value(value)}{behind}" if known(value) else ""


def _shown(value: Any, decimals: int | None, *, signed: bool = False) -> str:
    return (
        count(value, signed=signed) if decimals is None else fixed(value, decimals, signed=signed)
    )


def _splits(numbers: Data) -> str:
    """``900 to train, 50 to validate, 50 to test``, as far as they are known."""
    ends = {"train": "to train", "val": "to validate", "test": "to test"}
    return ", ".join(
        f"{numbers[split]:,} {end}" for split, end in ends.items() if known(numbers.get(split))
    )


def _samples(data: Data) -> list[tuple[str, str]]:
    return [("Data", f"{data['name']}, {data['classes']:,} classes"), ("Samples", _splits(data))]


def _of_test(data: Data, what: str) -> int | None:
    """Tokens or bytes of the test split; None where a summary does not tell them."""
    value = (data.get(what) or {}).get("test")
    return value if known(value) else None


def _text_unit(data: Data) -> str:
    size = _of_test(data, "bytes")
    return "bits per byte" + (
        " of test text" if size is None else f" on {size:,} bytes of test text"
    )


def _text_tested(data: Data) -> str:
    tokens, size = _of_test(data, "tokens"), _of_test(data, "bytes")
    if tokens is None:
        return plural(data["test"], "test block")
    return plural(tokens, "test token") + ("" if size is None else f" ({plural(size, 'byte')})")


def _text(data: Data) -> list[tuple[str, str]]:
    size, length = _of_test(data, "bytes"), data.get("block")
    return [
        ("Data", data["name"]),
        ("Tokenizer", f"{data.get('tokenizer') or MISSING}, a vocabulary of {data['classes']:,}"),
        (
            "Blocks",
            _splits(data)
            + (f", of {plural(length, 'token')} each" if isinstance(length, int) else ""),
        ),
        (
            "Tokens",
            _splits(data.get("tokens") or {})
            + ("" if size is None else f" ({plural(size, 'byte')})"),
        ),
    ]


_IMITATION = (
    Column("agreement", "Agreement", "agree", "percent"),
    Column("kl_to_teacher", "KL to teacher", "KL", "nats"),
    Column("seconds", "Time", "time", "seconds"),
)

ERRORS = Measure(
    key="errors",
    noun="errors",
    title="Test errors",
    decimals=(None, 1, None),
    columns=(
        Column("errors", "Test errors", "errors", "count", True),
        Column("accuracy", "Accuracy", "acc.", "percent", True),
        Column("kappa", "Quadratic kappa", "kappa", "nats"),
        Column("nll", "NLL", "NLL", "nats", True),
        Column("ece", "ECE", "ECE", "nats", True),
        *_IMITATION,
    ),
    delta="delta_errors",
    p=("mcnemar_p", "McNemar p"),
    p_of=("McNemar ", ""),
    gaps=(("errors", "Gap closed"), ("nll", "Gap closed, NLL")),
    differs="{arm} makes {size} {more} errors of {test} than {control}",
    equals="{arm} makes as many errors of {test} as {control}",
    verb="makes",
    has="{value} errors of {test}",
    past="it makes fewer errors than the teacher",
    too_few="these test samples are too few",
    curve="val_acc",
    keeps_logits=True,
    unit=lambda data: f"errors of {data['test']:,} test samples",
    tested=lambda data: plural(data["test"], "test sample"),
    settings=_samples,
)

BITS_PER_BYTE = Measure(
    key="bits_per_byte",
    noun="bits per byte",
    title="Bits per byte",
    decimals=(3, 3, 4),
    columns=(
        Column("bits_per_byte", "Bits per byte", "bits/byte", "bits", True),
        Column("perplexity", "Perplexity", "perplexity", "perplexity", True),
        Column("nll", "Nats per token", "nats/token", "nats", True),
        Column("accuracy", "Accuracy (top-1)", "top-1", "percent", True),
        Column("ece", "ECE", "ECE", "nats", True),
        *_IMITATION,
    ),
    delta="delta_bits_per_byte",
    p=("p_value", "p"),
    p_of=("", " over stretches of the test text"),
    gaps=(("nll", "Gap closed"),),
    differs="{arm} needs {value} bits per byte, {size} {more} than {control}",
    equals="{arm} needs {value} bits per byte, as many as {control}",
    verb="needs",
    has="{value} bits per byte of test text",
    past="it needs fewer bits than the teacher",
    too_few="this test text is too short",
    curve="val_loss",
    keeps_logits=False,
    unit=_text_unit,
    tested=_text_tested,
    settings=_text,
)

MEASURES = {measure.key: measure for measure in (ERRORS, BITS_PER_BYTE)}


def measure_of(summary: Mapping[str, Any]) -> Measure:
    """What a summary is judged by; errors where it does not say.

    Raises:
        UntrustedFileError: it names something else.
    """
    key = summary.get("measure", ERRORS.key)
    if not isinstance(key, str) or key not in MEASURES:
        listed = " or ".join(map(repr, MEASURES))
        raise UntrustedFileError(
            f"summary.json is damaged: measure should be {listed}, found {key!r}; newer ones need "
            "a newer limbeck."
        )
    return MEASURES[key]
