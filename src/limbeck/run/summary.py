"""``summary.json``: the results of a study as records, with their reader and writer.

Every key of the file is a field of the same name. Keys are added, never renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.abstention import Abstention
from limbeck.run.comparison import Comparison, Replacement
from limbeck.run.folder import RunFolder
from limbeck.run.metrics import AnyMetrics
from limbeck.run.records import from_json, optional, to_json
from limbeck.run.summary_checks import (
    check_deltas,
    check_replacements,
    check_schema,
    check_text,
    check_variances,
)

SCHEMA = 1
MeasureKey = Literal[
    "errors", "bits_per_byte", "squared_error", "label_errors", "missed_neighbours"
]
"""The metric by which a study is judged."""


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """A column of a table whose rows are the samples.

    Attributes:
        name: Name of the column.
        categories: Number of its categories; None for numbers.
        gaps: Whether training samples lack values of it.
    """

    name: str
    categories: int | None = None
    gaps: bool = False


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The dataset of a study.

    Attributes:
        name: Name of the dataset.
        classes: Number of classes, targets or dimensions, or size of the vocabulary.
        train: Number of training samples (blocks, if the data is text).
        val: Number of validation samples.
        test: Number of test samples.
        tokenizer: Name of the tokenizer, if the data is text.
        block: Tokens in a block, if the data is text.
        tokens: Tokens of each split, if the data is text.
        bytes: Number of bytes of the test text, if the data is text.
        columns: Columns of the features, if the data is a table.
        task: Kind of target, unless it is a class or the next token.
        texts_tokenizer: Name of the tokenizer, and its number of tokens, if the data is texts with
            labels.
        normalization: Description of what models do to the inputs first.
        constant: Result on the test split, in the measure of the study, of always giving the same
            answer: the most frequent class of training, or the mean.
    """

    name: str
    classes: int
    train: int
    val: int
    test: int
    tokenizer: str | None = optional()
    block: int | None = optional()
    tokens: Mapping[str, int] | None = optional()
    bytes: Mapping[str, int] | None = optional()
    columns: tuple[ColumnFacts, ...] | None = optional()
    task: str | None = optional()
    texts_tokenizer: str | None = optional()
    normalization: str | None = optional()
    constant: float | None = optional()


@dataclass(frozen=True, kw_only=True)
class AnswersFacts:
    """A file of answers from which students learned, instead of a model.

    Attributes:
        name: Name of the file.
        kind: Kind of the answers: ``logits``, ``probabilities``, ``log_probabilities`` or
            ``labels``.
        samples: Number of answers.
        top: Number of classes per answer, if not all are there.
        every_view: Whether the answer to a plain input was used for its views.
    """

    name: str
    kind: str
    samples: int
    top: int | None = optional()
    every_view: bool = False


@dataclass(frozen=True, kw_only=True)
class TeacherResult:
    """The teacher and its metrics.

    Attributes:
        name: Architecture, such as ``convnet 16-32-32``.
        params: Number of parameters of all members.
        val: Metrics on the validation split.
        test: Metrics on the test split; the mean over splits, if each has a teacher of its own.
        sd: Standard deviation of the test metrics over splits, if each has a teacher of its own.
    """

    name: str
    params: int
    val: AnyMetrics | None = optional()
    test: AnyMetrics
    sd: AnyMetrics | None = optional()


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One student and its metrics.

    Attributes:
        seed: Seed of the student.
        val: Metrics on the validation split.
        test: Metrics on the test split.
        recall: Recall of each class on the test split (None for a class without samples), if the
            study sets constants.
        split: Number of its training and validation split, if the study has several.
    """

    seed: int
    val: AnyMetrics
    test: AnyMetrics
    recall: tuple[float | None, ...] | None = optional()
    split: int | None = optional()


@dataclass(frozen=True, kw_only=True)
class AdjustedSeedResult:
    """One student with constants added to its logits, and its metrics.

    Attributes:
        seed: Seed of the student.
        bias: Constant of each class.
        val: Metrics on the validation split.
        test: Metrics on the test split.
        recall: Recall of each class on the test split; None for a class without samples.
    """

    seed: int
    bias: tuple[float, ...]
    val: AnyMetrics
    test: AnyMetrics
    recall: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class AdjustedResult:
    """The students of an arm with constants added to their logits.

    Attributes:
        how: Method that set the constants: ``prior``, ``kappa`` or ``chosen on test``.
        seeds: Result of each seed.
        mean: Mean of the test metrics over seeds.
        sd: Standard deviation of the test metrics over seeds.
    """

    how: str
    seeds: tuple[AdjustedSeedResult, ...]
    mean: AnyMetrics
    sd: AnyMetrics


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm: how its students were trained, and their metrics.

    Attributes:
        name: Name of the arm.
        student: Architecture of the student.
        params: Number of parameters of the student.
        control: Whether the arm learns from labels alone.
        objective: Settings of the objective.
        transfer: Description of the transfer set.
        transfer_settings: Settings of the transfer set.
        absent: Classes without a sample in the transfer set.
        views: Description of the views.
        views_settings: Settings of the views.
        optimizer: Settings of the optimizer.
        epochs: Number of training epochs.
        seconds: Training time: the share of the arm in the time of its cohorts.
        seeds: Result of each seed.
        mean: Mean of the test metrics over seeds.
        sd: Standard deviation of the test metrics over seeds; all None with one seed.
        candidates: Number of arms among which the validation split chose this one, if it did.
        failed_control: Name of the arm's control, if the control failed.
        adjusted: Results with constants added to the logits, if the study sets any.
        reference: Whether the arm is there for reference alone, so that none of its students is
            exported; None for other arms.
    """

    name: str
    student: str
    params: int
    control: bool = False
    objective: Mapping[str, Any]
    transfer: str
    transfer_settings: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[int, ...] = ()
    views: str | None = None
    views_settings: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    seconds: float | None = None
    seeds: tuple[SeedResult, ...]
    mean: AnyMetrics
    sd: AnyMetrics
    candidates: int | None = optional()
    failed_control: str | None = optional()
    adjusted: tuple[AdjustedResult, ...] | None = optional()
    reference: bool | None = optional()

    @property
    def is_shuffled(self) -> bool:
        """Whether the arm is a negative control: its soft targets belong to other samples."""
        return bool(self.objective.get("shuffled"))


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Duration of each stage of a study in seconds."""

    teacher: float
    store: float
    training: float
    evaluation: float
    total: float


@dataclass(frozen=True, kw_only=True)
class FailedStudent:
    """A student whose training failed.

    Attributes:
        arm: Name of its arm.
        seed: Seed of the student.
        reason: Message of the error.
    """

    arm: str
    seed: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a study.

    Attributes:
        schema: Version of the file format.
        recipe: Name of the study.
        epochs: Number of training epochs of the students, unless an arm has its own.
        batch_size: Batch size of the students.
        quick: Whether this was a quick run, which is only a smoke test.
        data: The dataset.
        splits: Number of training and validation splits, over which the seeds are spread; None for
            one.
        measure: Metric by which the study is judged.
        classes: Names of the classes or targets; empty if the data is text, and for embeddings.
        teacher: The teacher's result; None without a teacher, and for a file of answers without
            answers to the test samples.
        answers: The file of answers from which students learned, if the teacher is one.
        arms: Result of each arm in which no student failed.
        comparisons: Arms compared with their controls.
        seconds: Duration of each stage.
        failed: Students that failed.
        adjusted_comparisons: Comparisons with constants added to the logits, if the study sets any.
        margin: Difference in the measure below which two models count as equally good, if the study
            has a margin.
        replacements: Tests which students could replace a larger model within the margin.
        abstention: Answers of the best student if it may abstain; None for text and without
            students.
        warnings: Warnings to read before trusting the verdict.
    """

    schema: int = SCHEMA
    recipe: str
    epochs: int | None = None
    batch_size: int | None = None
    quick: bool = False
    data: DataFacts
    splits: int | None = optional()
    measure: MeasureKey = "errors"
    classes: tuple[str, ...] = ()
    teacher: TeacherResult | None
    answers: AnswersFacts | None = optional()
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    seconds: Seconds
    failed: tuple[FailedStudent, ...] = ()
    adjusted_comparisons: tuple[Comparison, ...] | None = optional()
    margin: float | None = optional()
    replacements: tuple[Replacement, ...] | None = optional()
    abstention: Abstention | None = optional()
    warnings: tuple[str, ...] = ()

    def arm(self, name: str) -> ArmResult:
        """Return the result of an arm by its name.

        Raises:
            KeyError: If there is no such arm.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)

    @property
    def main_comparison(self) -> Comparison | None:
        """The comparison in the headline; None without comparisons."""
        return next((entry for entry in self.comparisons if entry.main), None)


def read_summary(run: RunFolder) -> Summary:
    """Read ``summary.json`` of a run.

    Raises:
        ConfigError: If it is missing.
        UntrustedFileError: If it is damaged or of an unknown schema.
    """
    return parse_summary(run.read_json(run.summary), where=str(run.summary))


def write_summary(run: RunFolder, summary: Summary) -> None:
    """Write ``summary.json`` of a run."""
    write_json(run.summary, to_json(summary))


def parse_summary(content: Any, *, where: str = "summary.json") -> Summary:
    """Build a summary from the parsed JSON of schema 1.

    Args:
        content: Parsed JSON.
        where: File of the content, for messages.

    Raises:
        UntrustedFileError: If a key is missing or has a wrong value, or the schema is unknown.
    """
    if isinstance(content, dict):
        check_schema(content, where, SCHEMA)
    summary = from_json(Summary, content, where=where)
    for arm in summary.arms:
        if len(arm.name) > 255:
            raise UntrustedFileError(f"{where}: arm {arm.name[:40]}... cannot be a folder's name.")
    check_deltas(summary, where)
    if summary.measure == "bits_per_byte":
        check_text(summary, where)
    check_variances(summary, where)
    check_replacements(summary, where)
    return summary
