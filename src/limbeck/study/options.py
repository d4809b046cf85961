"""Options of a study: the training schedule of the students, and options of the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.evaluation.bias import BIASES
from limbeck.evaluation.margin import Margin
from limbeck.store.settings import StoreLike
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.engine import check_trainer
from limbeck.training.optimizer import Optimizer

MAX_EXAMPLES = 100


def _one_cycle() -> Optimizer:
    return Optimizer(schedule="one_cycle")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Training schedule of the students.

    Attributes:
        epochs: Number of training epochs, unless an arm has its own.
        batch_size: Batch size of every student.
        optimizer: Optimizer, unless an arm has its own.

    Raises:
        ConfigError: If a number is out of range.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Optimizer = field(default_factory=_one_cycle)

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run, which do not change what the students are trained on.

    Attributes:
        name: Name of the study, as shown in tables.
        overwrite: Whether to replace an earlier run in the same folder.
        resume: Whether to continue the run in the folder.
        follow_links: Whether links in the folder of a resumed run may lead out of it.
        progress: Whether to show progress on standard error.
        store: Settings of the store for the teacher's answers; ``auto`` for the defaults, ``off``
            to run the teacher in every step.
        trainer: Settings of the group ``trainer``: devices, precision, clipping and so on.
        launcher: Place where the models are trained: ``local`` or ``ray``, or settings of the group
            ``launcher``, see :class:`~limbeck.study.cluster.launcher.Launcher`.
        loggers: Functions that create a Lightning logger, called with ``save_dir``. A CSV logger is
            always added.
        bias: Method that fits one constant per class, which is added to the logits of every trained
            student for a second evaluation; None for no constants. ``prior`` makes the mean softmax
            over the training inputs equal to the class frequencies, which needs no label of any
            input; if the transfer set lacks classes, only these get constants. ``kappa`` maximises
            the quadratic kappa on the validation split.
        margin: Difference below which two models count as equally good, to test whether arms are
            equivalent or not worse: a number of errors (for text, bits per byte), a share of the
            test samples (``"0.5%"``) or of the gap between control and teacher (``"10%gap"``);
            None for no such tests.
        splits: Number of training and validation splits, over which the seeds are spread, so that
            the verdict holds for other splits as well. The teacher is trained on each. The number
            of seeds has to be a multiple of it.
        check_teacher: Whether a teacher that exists already is examined before anything is trained;
            see :func:`limbeck.teacher.examination.examine_models`.
        examples: Number of test images on which the main arm and its control differ, to save in
            the run folder and to show in the report; 0 to publish no images.
        config: Content of ``config.yaml``; None to write a description of the study.
        facts: Further keys of ``manifest.json``.

    Raises:
        ConfigError: If an option is invalid or out of range.
    """

    name: str = "study"
    overwrite: bool = False
    resume: bool = False
    follow_links: bool = False
    progress: bool = True
    store: StoreLike = "auto"
    trainer: Mapping[str, Any] = field(default_factory=dict)
    launcher: Launcher | Mapping[str, Any] | str | None = None
    loggers: Sequence[Callable[..., Any]] = ()
    bias: str | None = None
    margin: float | str | None = None
    splits: int = 1
    check_teacher: bool = True
    examples: int = 8
    config: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ConfigError(f"name={self.name!r} should be a string.")
        check_trainer(self.trainer)
        Launcher.of(self.launcher)
        check_count("splits", self.splits)
        if self.bias is not None and self.bias not in BIASES:
            raise ConfigError(
                f"bias={self.bias!r} is unknown; choose one of {', '.join(BIASES)}, or null for "
                "none."
            )
        if self.margin is not None:
            Margin.parse(self.margin)
        is_number = isinstance(self.examples, int) and not isinstance(self.examples, bool)
        if not is_number or not 0 <= self.examples <= MAX_EXAMPLES:
            raise ConfigError(
                f"examples={self.examples!r} should be a number of test images from 0 to "
                f"{MAX_EXAMPLES}."
            )

    @property
    def parsed_margin(self) -> Margin | None:
        """The margin; None without one."""
        return None if self.margin is None else Margin.parse(self.margin)
