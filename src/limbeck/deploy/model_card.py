"""Model card of a bundle: facts about the run, and TODO marks for a person to fill in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck._base.version import __version__
from limbeck.data import TableColumns
from limbeck.deploy.int8 import FloatLayers
from limbeck.deploy.markdown import first_names, last_part, plain
from limbeck.deploy.model_card_tables import (
    MAX_COLUMNS,
    arms_table,
    columns_table,
    coverage_table,
    guarantees_table,
    recall_table,
    stages_table,
)
from limbeck.deploy.stage import Stage
from limbeck.evaluation.measure import measure_of
from limbeck.report.formats import digits, nats, percent, plural
from limbeck.report.objectives import objective, optimizer
from limbeck.report.wording import headlines
from limbeck.run.manifest import Manifest
from limbeck.run.summary import ArmResult, Summary, TeacherResult


@dataclass(frozen=True)
class CardFacts:
    """Facts about the exported student, for the model card.

    Attributes:
        arm: Arm of the student.
        seed: Seed of the student.
        adjusted: Method that fitted the constants added to the logits. None without constants.
        is_user_choice: Whether the user chose the arm or the seed.
        note: Reason why the student of a control was exported, or empty.
        stages: Stages of the export.
        class_names: Names of the classes, in the order of the logits.
        logits: Logits of the validation samples, ``[N, classes]``.
        labels: Labels of the validation samples, ``[N]``.
        temperature: Temperature of the confidences.
        thresholds: Smallest confidence for each error rate that answers may have, such as ``1%``.
        columns: Columns of the rows of a table; None for other inputs.
        text_columns: Column of texts in a table, or two columns of pairs; None for other inputs.
        float_layers: Layers of the 8-bit model that are in float32; None if there are none.
    """

    arm: str
    seed: int
    adjusted: str | None
    is_user_choice: bool
    note: str
    stages: Sequence[Stage]
    class_names: Sequence[str]
    logits: np.ndarray
    labels: np.ndarray
    temperature: float
    thresholds: Mapping[str, float]
    columns: TableColumns | None = None
    text_columns: Sequence[str] | None = None
    float_layers: FloatLayers | None = None

    @property
    def inputs(self) -> str:
        """Word for the inputs."""
        if self.text_columns is not None:
            return "texts"
        return "images" if self.columns is None else "rows"

    @property
    def has_classes(self) -> bool:
        """Whether an answer is one of several classes."""
        first = self.stages[0]
        return first.squared_error is first.predictions is first.missed_neighbours is None


def model_card(summary: Summary, manifest: Manifest, facts: CardFacts) -> str:
    """Write the text of ``model_card.md``.

    Args:
        summary: Summary of the run.
        manifest: Manifest of the run. Only its date is used, not its command or paths.
        facts: Facts about the exported student.
    """
    entry = summary.arm(facts.arm)
    has_teacher = summary.teacher is not None or summary.answers is not None
    is_distilled = not entry.control and has_teacher
    parts = [
        f"# Model card: {plain(summary.recipe)}, {plain(facts.arm)}",
        *_introduction(summary, manifest, entry, facts, is_distilled),
        *_data(summary, entry),
        *_training(summary, entry, facts),
        *_checks(summary, facts),
        *_limits(facts, is_distilled),
        "## Licence and contact",
        "TODO: licence of the model and of the data; contact.",
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(
    summary: Summary,
    manifest: Manifest,
    entry: ArmResult,
    facts: CardFacts,
    is_distilled: bool,
) -> list[str]:
    if is_distilled:
        origin = "trained by knowledge distillation"
    else:
        origin = "trained on labels, without a teacher (a control),"
    kind, result = _purpose(summary, entry, facts)
    parts = [
        f"{kind} with {entry.params:,} parameters ({plain(entry.student)}), {origin} with limbeck "
        f"{__version__}{_day(manifest)}. {result}"
    ]
    if facts.adjusted:
        parts.append(
            f"Constants fitted after training (`bias={facts.adjusted}`) are added to its logits. "
            "The results of the arms below do not include them."
        )
    parts += [
        "## Intended use",
        f"TODO: intended users, purpose and {facts.inputs}; uses that are out of scope; the person "
        "responsible for the model.",
        *_columns(facts),
    ]
    return parts


def _purpose(summary: Summary, entry: ArmResult, facts: CardFacts) -> tuple[str, str]:
    """What the model predicts, and how well."""
    samples, names = summary.data.test, facts.class_names
    if facts.has_classes:
        errors = facts.stages[0].errors
        return (
            f"A classifier of {len(names):,} classes ({first_names(names)})",
            f"It makes {errors:,} errors on {samples:,} test samples (accuracy "
            f"{percent(1 - errors / samples)}).",
        )
    metrics = next(seed.test for seed in entry.seeds if seed.seed == facts.seed)
    if facts.stages[0].predictions is not None:
        return (
            f"A model of {plural(len(names), 'label')}, of which several may apply "
            f"({first_names(names)}),",
            f"It predicts {facts.stages[0].errors:,} of {facts.stages[0].predictions:,} labels of "
            f"{samples:,} test samples wrongly; its mean average precision is "
            f"{nats(getattr(metrics, 'mean_average_precision', None))}.",
        )
    if facts.stages[0].missed_neighbours is not None:
        return (
            f"A model of embeddings: a vector of {plural(len(names), 'dimension')} and length 1",
            f"Of the teacher's 10 nearest texts it misses "
            f"{nats(getattr(metrics, 'missed_neighbours', None))}, the mean of {samples:,} test "
            "texts.",
        )
    unit = "" if len(names) == 1 else " standard deviations of the target"
    return (
        f"A regression of {plural(len(names), 'target')} ({first_names(names)})",
        f"On {samples:,} test samples its R² is {nats(getattr(metrics, 'r_squared', None))}, and "
        f"its root mean squared error {digits(getattr(metrics, 'rmse', None))}{unit}.",
    )


def _columns(facts: CardFacts) -> list[str]:
    """The columns of a table, or of texts."""
    if facts.text_columns is not None:
        names = " and ".join(map(plain, facts.text_columns))
        kind = "Texts" if len(facts.text_columns) == 1 else "Pairs of texts"
        return ["## Inputs", f"{kind}; in a CSV file they are in {names}."]
    if facts.columns is None:
        return []
    more = len(facts.columns) - MAX_COLUMNS
    return [
        "## Inputs",
        "Rows of a table with these columns. Each may lack values.",
        columns_table(facts.columns),
        *([f"{more:,} more columns are listed in `preprocess.json`."] if more > 0 else []),
    ]


def _data(summary: Summary, entry: ArmResult) -> list[str]:
    data = summary.data
    return [
        "## Training data",
        f"{plain(last_part(data.name))}: {data.train:,} training samples, "
        f"{data.val:,} validation samples, {data.test:,} test samples. Transfer set of this "
        f"student: {plain(entry.transfer)}; views: {plain(entry.views or 'none')}.",
        "TODO: source of the data, people whom it represents and whom it leaves out, licence, "
        "consent, known gaps.",
    ]


def _training(summary: Summary, entry: ArmResult, facts: CardFacts) -> list[str]:
    if facts.is_user_choice:
        choice = "chosen by the person who exported it."
    else:
        choice = "chosen on the validation split, without the test split."
    if facts.note:
        choice += f" {plain(facts.note)}"
    verdicts = []
    for verdict, sentence in headlines(summary):
        if verdict != "none":
            verdicts.append(f"**{plain(sentence)}**")
    return [
        "## Training",
        _recipe(summary, entry),
        arms_table(summary, facts.arm),
        *verdicts,
        *(f"* {plain(warning)}" for warning in summary.warnings),
        f"In this bundle: arm {plain(facts.arm)}, seed {facts.seed}, {choice}",
    ]


def _recipe(summary: Summary, entry: ArmResult) -> str:
    teacher = summary.teacher
    if summary.answers is not None:
        answers = summary.answers
        teacher_sentence = (
            f"Teacher: a file of {answers.samples:,} answers ({plain(answers.name)}, "
            f"{plain(answers.kind)})."
        )
        if teacher is not None:
            teacher_sentence = f"{teacher_sentence[:-1]}, {_result(summary, teacher)}."
    elif teacher is None:
        teacher_sentence = "There was no teacher."
    else:
        size = f"{teacher.params:,} parameters, " if teacher.params else ""
        teacher_sentence = f"Teacher: {plain(teacher.name)}, {size}{_result(summary, teacher)}."
    return (
        f"{teacher_sentence} Student: {plain(entry.student)}, {entry.params:,} parameters. "
        f"Objective: {plain(objective(entry.objective))}. {summary.epochs} epochs, "
        f"batch size {summary.batch_size}, "
        f"{plain(optimizer(entry.optimizer))}."
    )


def _result(summary: Summary, teacher: TeacherResult) -> str:
    """The test result of the teacher."""
    measure = measure_of(summary)
    if measure.key == "errors":
        return f"{teacher.test.errors:,} test errors"
    return measure.sentence.format(value=measure.value(teacher.test))


def _checks(summary: Summary, facts: CardFacts) -> list[str]:
    verb = "classified" if facts.has_classes else "predicted"
    parts = [
        "## Checks at export",
        f"The student and each exported model {verb} all {summary.data.test:,} test samples.",
        stages_table(facts.stages),
        *([] if facts.float_layers is None else facts.float_layers.for_card()),
        "`python run.py verify` repeats the check on a device with 16 generated inputs. The bundle "
        "contains no sample of the data.",
    ]
    return [*parts, *_confidence(facts)] if facts.has_classes else parts


def _confidence(facts: CardFacts) -> list[str]:
    return [
        "## Confidence",
        "Confidences are the softmax of the logits divided by "
        f"{facts.temperature:.3f}, a temperature fitted on the validation split. The model can "
        "abstain below a minimum confidence (`--abstain`). Results on the validation split:",
        coverage_table(facts.logits, facts.labels, facts.temperature),
        *_guarantees(facts),
    ]


def _guarantees(facts: CardFacts) -> list[str]:
    """The confidences above which the error rate is guaranteed."""
    if not facts.thresholds:
        return []
    return [
        "For inputs like those of the validation split, each error rate holds with a probability "
        "of 95 % (exact binomial bound, corrected for the choice of the student). "
        "`--abstain` with an error rate, such as "
        f"`--abstain {next(iter(facts.thresholds))}`, uses the confidence of its row:",
        guarantees_table(facts.thresholds, facts.logits, facts.labels, facts.temperature),
    ]


def _limits(facts: CardFacts, is_distilled: bool) -> list[str]:
    always = "* The answer is always one of the classes above, even if none of them is right."
    if not facts.has_classes:
        always = "* An answer says nothing about inputs of other kinds than those of the training."
    parts = [
        "## Limits",
        always,
        "* Accuracy is lower, by an unknown amount, on "
        f"{facts.inputs} that differ from the training data, such as {_differences(facts)}.",
    ]
    if is_distilled:
        parts.append("* It may have inherited mistakes and biases of its teacher.")
    if facts.has_classes:
        parts += [
            "* Classes with the lowest recall on the validation split:",
            recall_table(facts.logits, facts.labels, facts.class_names),
        ]
    parts += [
        "TODO: harm that a wrong answer can cause, groups on which it was not tested, and how "
        "it is monitored in use.",
    ]
    return parts


def _differences(facts: CardFacts) -> str:
    if facts.text_columns is not None:
        return "those of other authors, topics, languages or times"
    if facts.columns is None:
        return "another camera, background, orientation or contrast"
    return "those of another place, time or group of people, or with other values missing"


def _day(manifest: Manifest) -> str:
    return f" on {plain(manifest.finished[:10])}" if manifest.finished else ""
