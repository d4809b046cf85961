"""Computation of a training step: outputs of students and teacher, losses and their means."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.compiler_cache import use_private_compiler_cache
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data.batch_forms import BatchNames
from limbeck.data.batch_reader import BatchReader
from limbeck.data.batches import Batch, Mixed, own_inputs, student_inputs, teacher_inputs
from limbeck.data.inputs import ModelInputs, map_inputs
from limbeck.data.labels import are_tokens, check_outputs, predictions_per_sample
from limbeck.evaluation.metrics import top_class
from limbeck.losses import UNLABELLED, Objective, StackedObjective, Terms, is_labelled
from limbeck.losses.sparse import SparseTargets, map_answers
from limbeck.teacher.adapt import TeacherModels, as_signal
from limbeck.teacher.answers import AnswerCheck
from limbeck.teacher.checks import check_separate
from limbeck.teacher.signal import LiveTeacher, TeacherSignal
from limbeck.training.chunked_steps import chunked_terms, should_chunk
from limbeck.training.cohort.rates import split_rates
from limbeck.training.cohort.stack import Cohort
from limbeck.training.divergence import Divergence
from limbeck.training.features import FeatureTerm, GuidedTerms
from limbeck.training.means import (
    Counts,
    Reduce,
    RunningMeans,
    count_predictions,
    weights_of_terms,
)
from limbeck.training.optimizer import Optimizer, OptimizerLike
from limbeck.training.single_samples import SingleSampleCheck
from limbeck.training.vector_terms import vector_terms

Targets = Tensor | SparseTargets
"""A teacher's answer: logits, or a part of its distribution."""
TRAIN_METRICS = ("train_loss", "train_hard", "train_soft", "train_feature")
VAL_METRICS = ("loss", "acc")


class DistillationTask(nn.Module):
    """Students, their teacher and objectives, and the losses of a step.

    Calling the task with a batch returns the sum of the students' losses, whose gradient for each
    student is that of its own loss. Labels ``[B, T]`` are those of a language model, whose logits
    are ``[B, T, C]``. Arms may have an optimizer each, which differ in the learning rate alone.
    ``scale`` is the number by which values of each target are divided in the
    losses, see :class:`~limbeck.losses.StackedObjective`.

    The teacher is not a submodule. Arguments and errors are those of
    :class:`limbeck.DistillationModule`.
    """

    def __init__(
        self,
        student: nn.Module | Cohort,
        teacher: TeacherModels | TeacherSignal | None = None,
        objective: Objective | Sequence[Objective] | None = None,
        *,
        optimizer: OptimizerLike | Sequence[Optimizer] | None = None,
        arm_names: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        names: BatchNames | None = None,
        scale: Sequence[float] | None = None,
    ):
        super().__init__()
        self.cohort = student if isinstance(student, Cohort) else Cohort.of_one(student)
        if objective is None and teacher is None:
            objective = Objective(hard_weight=1.0, soft_weight=0.0)
        objective = objective or Objective()
        objectives = [objective] if isinstance(objective, Objective) else objective
        self.objective = StackedObjective(objectives, scale=scale)
        if teacher is not None and not isinstance(teacher, TeacherSignal):
            teacher = as_signal(teacher, outputs=self.objective.outputs)
        self.signal = teacher
        self.optimizer, self.rates = split_rates(optimizer or Optimizer(), self.cohort.arms)
        self.seeds = None if seeds is None else list(seeds)
        self.prefixes = self._prefixes(arm_names)
        self._check()
        model = self.cohort if self.cohort.student is None else self.cohort.student
        teachers = self.signal.models if isinstance(self.signal, LiveTeacher) else [None]
        self.reader = BatchReader(
            names,
            model,
            teachers[0],
            needs_labels=self.objective.learns_from_labels,
            has_classes=self.objective.outputs == "classes",
        )
        self.answer_check = AnswerCheck(self.objective.finite_loss)
        self.feature_term = self._feature_term()
        self.predicts_tokens = False
        self.single_samples = SingleSampleCheck(self.cohort)
        self._compute: Callable[..., Terms] = self._terms
        self._train = RunningMeans(TRAIN_METRICS)
        self._val: dict[int, RunningMeans] = {}
        student_names = [[prefix.rstrip("/") for prefix in row] for row in self.prefixes]
        self.divergence = Divergence(student_names)

    def _check(self) -> None:
        objectives = len(self.objective.objectives)
        if objectives != self.cohort.arms:
            raise ConfigError(
                f"Expected one objective for each of {self.cohort.arms} arms, got {objectives}."
            )
        if self.objective.needs_teacher and self.signal is None:
            raise TeacherError(
                "An objective with soft_weight above 0 needs a teacher, but got none."
            )
        if self.signal is not None and self.signal.models:
            student = self.cohort if self.cohort.student is None else self.cohort.student
            check_separate(self.signal.models, student)

    def _prefixes(self, arm_names: Sequence[str] | None) -> list[list[str]]:
        """Prefix of the logged names of each student, ``[A][S]``."""
        if arm_names is None and self.seeds is None and self.cohort.student is not None:
            return [[""]]
        names = [str(a) for a in range(self.cohort.arms)] if arm_names is None else list(arm_names)
        seeds = list(range(self.cohort.seeds)) if self.seeds is None else self.seeds
        if len(names) != self.cohort.arms or len(seeds) != self.cohort.seeds:
            raise ConfigError(
                f"A cohort of {self.cohort.arms} arms and {self.cohort.seeds} seeds got "
                f"{len(names)} names and {len(seeds)} seeds."
            )
        return [[f"{name}/seed{seed}/" for seed in seeds] for name in names]

    def _feature_term(self) -> FeatureTerm | None:
        objectives = self.objective.objectives
        features = [feature for objective in objectives for feature in objective.features]
        if not features:
            return None
        if self.cohort.student is None:
            raise ConfigError(
                "objective.features requires students that are trained one at a time, each as a "
                "cohort of one."
            )
        seed = self.seeds[0] if self.seeds else 0
        return FeatureTerm(features, self.cohort.student, self.signal, seed=seed)

    # Before the first step ------------------------------------------------------------------------

    def fit_projections(self, batches: Iterable[Any]) -> None:
        """Create the projections of hints for the shapes of the first batch, if there are hints.

        Raises:
            ConfigError: If there is no batch, or the shapes cannot be matched.
        """
        if self.feature_term is None or self.feature_term.is_fitted:
            return
        with torch.random.fork_rng(devices=[]):  # reading a batch must not change the training
            first = next(iter(batches), None)
        if first is None:
            raise ConfigError("The loader returned no batch, so nothing can be learnt.")
        batch = self.reader.read(first)
        self.feature_term.fit_to(own_inputs(batch), batch.teacher_inputs)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Parameters that the optimizer trains: the students' and those of projections.

        Raises:
            ConfigError: If there are projections and the optimizer was created without them.
        """
        projections = [] if self.feature_term is None else list(self.feature_term.parameters())
        if projections and isinstance(self.optimizer, torch.optim.Optimizer):
            raise ConfigError(
                "The projection of a hint has to be trained, too, but the optimizer was created "
                "without it. Pass optimizer settings, or a function that creates an optimizer."
            )
        return [*self.cohort.parameters(), *projections]

    def compile_steps(self, mode: bool | str = True) -> None:
        """Compile students and losses with ``torch.compile``.

        Args:
            mode: True for PyTorch's default, False for none, or a mode of ``torch.compile`` such as
                ``reduce-overhead`` (CUDA graphs).
        """
        self._compute = self._terms
        if not mode:
            return
        use_private_compiler_cache()
        # Students of many shapes would exceed PyTorch's limit of recompilations.
        torch.compiler.reset()
        compiled = torch.compile(self._terms, dynamic=False, mode=None if mode is True else mode)

        def first_step(*arguments: Any) -> Terms:
            # An uncompiled step creates the tensors that are cached between steps.
            with (
                torch.random.fork_rng(),
                self.cohort.restored_streams(),
                torch.no_grad(),
            ):
                self._terms(*arguments)
            self._compute = compiled
            return compiled(*arguments)

        self._compute = first_step

    # Steps ----------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int, rank: int = 0) -> None:
        """Reset the means, and seed the dropout of the epoch."""
        self._train.reset()
        self.answer_check.reset()
        if self.seeds is not None:
            others = (rank,) if rank else ()
            numbers = [hash((seed, epoch, *others)) & 0x7FFFFFFF for seed in self.seeds]
            self.cohort.set_streams(numbers)

    def epoch_state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights: means, random numbers, diverged students."""
        return {
            "means": self._train.state_dict(),
            "answers": self.answer_check.state_dict(),
            "streams": self.cohort.streams_state(),
            "diverged": self.divergence.students,
        }

    def load_epoch_state(self, state: Mapping[str, Any]) -> None:
        """Continue the epoch of :meth:`epoch_state`."""
        device = next(self.cohort.parameters()).device
        self._train.load_state_dict(state["means"], device)
        self.answer_check.load_state_dict(state["answers"], device)
        self.cohort.load_streams_state(state["streams"])
        self.divergence.load(state["diverged"])

    def can_train_on(self, batch: Any) -> bool:
        """Whether the students can be trained on a batch, see :class:`SingleSampleCheck`."""
        return self.single_samples.accepts(self.reader.read(batch))

    def forward(self, batch: Any) -> Tensor:
        """Sum of the students' losses."""
        batch = self.reader.read(batch)
        counts = batch.counts or count_predictions(batch.y)
        if self.objective.outputs == "vectors":
            counts = counts[1], counts[1]  # no text needs a label
        terms = self._terms_of(batch, counts)
        values = torch.stack([term.detach() for term in terms])
        self._train.add(values, weights_of_terms(values, counts))
        return terms.loss.sum()

    def inputs_of(self, batch: Any) -> ModelInputs:
        """Inputs for :class:`limbeck.DistillationModule` of a batch with or without labels."""
        if not isinstance(batch, Batch):
            return self.reader.read_inputs(batch)
        batch = self.reader.read(batch)
        return batch.x if self.cohort.student is None else own_inputs(batch)

    def _terms_of(self, batch: Batch, counts: Counts) -> Terms | GuidedTerms:
        if self.feature_term is not None:
            return self._guided_terms(self.feature_term, batch, counts)
        is_plain = batch.inputs is None and batch.teacher_inputs is None
        if is_plain and should_chunk(self.cohort.student, self.objective, batch.y):
            signal = self.signal if self.objective.needs_teacher else None
            return chunked_terms(
                self.cohort.student, self.objective, batch, signal, counts, self._check_answers
            )
        inputs = student_inputs(batch)
        targets = self._targets(batch)
        return self._compute(inputs, targets, batch.y, batch.mixed, counts, batch.other)

    def _guided_terms(self, feature_term: FeatureTerm, batch: Batch, counts: Counts) -> GuidedTerms:
        """Compute the terms of a student with features, without compilation."""
        with feature_term.record_outputs():
            targets = self._targets(batch)
            inputs = student_inputs(batch)
            terms = self._terms(inputs, targets, batch.y, batch.mixed, counts, batch.other)
        predictions = predictions_per_sample(batch.y)
        feature = (feature_term(own_inputs(batch)).sum() * predictions / counts[1]).view(1, 1)
        return GuidedTerms(terms.loss + feature, terms.hard, terms.soft, feature)

    def _terms(
        self,
        x: ModelInputs,
        targets: Targets | None,
        y: Tensor,
        mixed: Mixed | None,
        counts: Counts,
        other: Tensor | None = None,
    ) -> Terms:
        if self.objective.outputs == "vectors":
            return vector_terms(self.cohort, self.objective, x, targets, y, counts, other=other)
        logits = self.cohort(x)
        check_outputs(logits, y)
        if not are_tokens(y):
            return self.objective(logits, targets, y, mixed=mixed, counts=counts)
        logits, y = logits.flatten(-3, -2), y.flatten(1)
        ignored = None if isinstance(counts[0], float) else y == UNLABELLED
        if targets is not None:
            targets = map_answers(targets, lambda part: part.flatten(1, 2))
        return self.objective(logits, targets, y, ignored=ignored, counts=counts)

    def _targets(self, batch: Batch) -> Targets | None:
        """The teacher's answers to a batch, if an objective needs them."""
        if self.signal is None or not self.objective.needs_teacher:
            return None
        if batch.sample is not None:
            answers = self.signal(batch.x, batch.sample, batch.view)
        else:
            answers = self.signal(teacher_inputs(batch), None, None)
            answers = map_answers(answers, lambda part: part.unflatten(0, batch.x.shape[:2]))
        self._check_answers(answers, batch)
        return answers

    def _check_answers(self, answers: Targets, batch: Batch, first: int = 0) -> None:
        """Check answers of a live teacher; stored ones were checked before they were stored."""
        if isinstance(answers, Tensor) and not (self.signal and self.signal.is_stored):
            self.answer_check.add(answers, batch, first)

    def begin_validation(self) -> None:
        """Reset the means of the validation."""
        self._val = {}

    def validate(self, batch: Any, loader: int = 0) -> None:
        """Add loss and, for classes, accuracy of every student on a batch of a loader."""
        if self.objective.outputs == "vectors":  # they are compared with a teacher's, not labels
            return
        batch = self.reader.read(batch)
        copies = map_inputs(student_inputs(batch), Tensor.clone)  # a model may change its inputs
        logits, y = self.cohort(copies), batch.y
        self.predicts_tokens = are_tokens(y)
        if self.predicts_tokens:
            logits, y = logits.flatten(-3, -2), y.flatten(1)
        labelled = is_labelled(y).sum(-1)
        values = [self.objective.validation_loss(logits, y).sum(-1) / labelled.clamp(min=1)]
        if not y.is_floating_point():
            correct = (top_class(logits) == y).sum(-1)
            values.append(correct.float() / labelled.clamp(min=1))
        means = self._val.setdefault(loader, RunningMeans(VAL_METRICS))
        means.add(torch.stack(values), labelled)

    def clip_gradients(self, max_norm: float) -> None:
        """Clip the gradient of each student by its own norm."""
        self.cohort.clip_gradients(max_norm)
        if self.feature_term is not None:
            torch.nn.utils.clip_grad_norm_(self.feature_term.parameters(), max_norm)

    # After an epoch -------------------------------------------------------------------------------

    def val_scalars(self, reduce: Reduce, stage: str = "val") -> dict[str, float]:
        """Means of the validation by logged name; empty without a batch.

        Args:
            reduce: Function that sums a tensor over all processes.
            stage: First part of the names: ``val`` or ``test``.
        """
        scalars: dict[str, float] = {}
        for loader, means in sorted(self._val.items()):
            # Lightning's names for several loaders
            suffix = f"/dataloader_idx_{loader}" if len(self._val) > 1 else ""
            grids = means.compute(reduce)
            scalars |= self._scalars(
                {f"{stage}_{name}{suffix}": grid for name, grid in grids.items()}
            )
        return scalars

    def train_scalars(self, reduce: Reduce, epoch: int) -> dict[str, float]:
        """Means of the epoch by logged name; records students that diverged.

        Raises:
            TeacherError: If the teacher gave an answer that is not finite.
            DataError: If an input is not finite.
        """
        self.answer_check.check_record(reduce)
        means = self._train.compute(reduce)
        self.divergence.add(means.get("train_loss", []), epoch)
        return self._scalars(means)

    def _scalars(self, means: dict[str, list[list[float]]]) -> dict[str, float]:
        scalars = {}
        for name, grid in means.items():
            for prefixes, row in zip(self.prefixes, grid, strict=True):
                for prefix, value in zip(prefixes, row, strict=True):
                    scalars[prefix + name] = value
        return scalars
