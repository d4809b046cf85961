"""The one LightningModule: it trains a student, or a whole cohort, with or without a teacher."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, DivergedError, TeacherError
from limbeck.data.batches import Batch, Mixed, WholeEpoch, WholeEpochs, as_batch
from limbeck.losses import UNLABELLED, Objective, StackedObjective, Terms, hard_loss
from limbeck.losses.sparse import SparseTargets
from limbeck.teacher.signal import LiveTeacher, TeacherSignal
from limbeck.training.chunked_steps import chunked_terms, suits_chunks
from limbeck.training.cohort.stack import Cohort
from limbeck.training.features import FeatureTerm, first_inputs
from limbeck.training.optimizer import Optimizer, OptimizerLike
from limbeck.training.steps import drawn_outside

Counts = tuple[Tensor | float, Tensor | float]
"""Labelled predictions and predictions that the losses are divided by: numbers, or one for each
seed.
"""
Targets = Tensor | SparseTargets
"""What a teacher answers: logits, or a part of its distribution."""
TELL_SECONDS = 0.2
METRICS = {
    "train": ("train_loss", "train_hard", "train_soft", "train_feature"),
    "val": ("val_loss", "val_acc"),
}


class _GuidedTerms(NamedTuple):
    """Terms with that of the features, already weighted, ``[A, S]`` each."""

    loss: Tensor
    hard: Tensor
    soft: Tensor
    feature: Tensor


class DistillationModule(L.LightningModule):
    """Trains students from labels and, if there is one, from a teacher. Without a teacher: plain
    supervised training.

    Works with any ``lightning.Trainer`` and any loader of ``(x, y)`` batches. Labels ``[B, T]`` are
    those of a language model, whose logits are ``[B, T, C]``: the losses count each position, but
    not those whose label is -100.

    Logs per epoch ``train_loss``, ``train_hard``, ``train_soft``, ``val_loss`` (cross-entropy with
    the labels, nats) and ``val_acc``, and ``train_feature`` where layers guide the student; for a
    cohort each under ``<arm>/seed<N>/``.

    Args:
        student: a model that gives logits ``[B, C]``, or a
            :class:`~limbeck.training.cohort.stack.Cohort`.
        teacher: a frozen model, or a :class:`~limbeck.teacher.signal.TeacherSignal`. It is kept out
            of this module's tree: not trained, not saved, not moved into a checkpoint.
        objective: one, or one per arm of the cohort. By default the distillation objective with a
            teacher, labels only without.
        optimizer: settings; or a ``torch.optim.Optimizer`` that holds the student's parameters; or
            a function that makes one from parameters.
        arm_names: one per arm of a cohort.
        seeds: of a cohort; each epoch's dropout then depends on seeds and epoch alone, so a resumed
            run repeats it.

    Raises:
        TeacherError: an objective needs a teacher and there is none.
        ConfigError: numbers of objectives, names and arms differ; or a layer of a feature does not
            exist, or the teacher or the cohort is not one model.
    """

    def __init__(
        self,
        student: nn.Module | Cohort,
        teacher: nn.Module | TeacherSignal | None = None,
        objective: Objective | Sequence[Objective] | None = None,
        *,
        optimizer: OptimizerLike | None = None,
        arm_names: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ):
        super().__init__()
        self.cohort = student if isinstance(student, Cohort) else Cohort.of_one(student)
        if objective is None:
            objective = (
                Objective() if teacher is not None else Objective(hard_weight=1.0, soft_weight=0.0)
            )
        self.objective = StackedObjective(
            [objective] if isinstance(objective, Objective) else objective
        )
        self.signal = LiveTeacher(teacher) if isinstance(teacher, nn.Module) else teacher
        self.optimizer = optimizer if optimizer is not None else Optimizer()
        self.seeds = None if seeds is None else list(seeds)
        self.prefixes = self._prefixes(arm_names)
        if len(self.objective.objectives) != self.cohort.arms:
            raise ConfigError(
                f"{self.cohort.arms} arms need as many objectives; found "
                f"{len(self.objective.objectives)}."
            )
        if self.objective.needs_teacher and self.signal is None:
            raise TeacherError(
                "An objective with soft_weight above 0 needs a teacher; none was given."
            )
        self.feature_term = self._feature_term()
        self._compute: Callable[..., Terms] = self._terms
        self.tell: Callable[[float], object] = lambda share: (
            None
        )  # told which share of an epoch is done, now and then
        self._sums: dict[str, tuple[Tensor, Tensor | float]] = {}
        self._diverged: dict[tuple[int, int], str] = {}

    @property
    def diverged(self) -> list[tuple[int, int, str]]:
        """Students whose loss became infinite or not a number: position of the arm and of the seed,
        a sentence.
        """
        return [(arm, seed, sentence) for (arm, seed), sentence in self._diverged.items()]

    def _feature_term(self) -> FeatureTerm | None:
        features = [
            feature for objective in self.objective.objectives for feature in objective.features
        ]
        if not features:
            return None
        if self.cohort.student is None:
            raise ConfigError(
                "objective.features is for students trained one at a time: a cohort of one each."
            )
        return FeatureTerm(
            features, self.cohort.student, self.signal, seed=self.seeds[0] if self.seeds else 0
        )

    def setup(self, stage: str) -> None:
        """Make the projections of hints by the first batch: before the optimizer is made or a
        checkpoint is read.
        """
        if stage == "fit" and self.feature_term is not None and not self.feature_term.is_fitted:
            self.feature_term.fit_to(first_inputs(self.trainer))

    def _trained(self) -> list[nn.Parameter]:
        """What the optimizer trains: the students, and projections if there are any."""
        projections: Iterable[nn.Parameter] = (
            () if self.feature_term is None else self.feature_term.parameters()
        )
        return [*self.cohort.parameters(), *projections]

    def _prefixes(self, arm_names: Sequence[str] | None) -> list[list[str]]:
        if arm_names is None and self.seeds is None and self.cohort.student is not None:
            return [[""]]
        names = [str(a) for a in range(self.cohort.arms)] if arm_names is None else list(arm_names)
        seeds = list(range(self.cohort.seeds)) if self.seeds is None else self.seeds
        if len(names) != self.cohort.arms or len(seeds) != self.cohort.seeds:
            raise ConfigError(
                f"A cohort of {self.cohort.arms} arms and {self.cohort.seeds} seeds got "
                f"{len(names)} names and "
                f"{len(seeds)} seeds."
            )
        return [[f"{name}/seed{seed}/" for seed in seeds] for name in names]

    def forward(self, x: Tensor) -> Tensor:
        """Logits: ``[B, C]`` of a single student for ``[B, ...]``, else ``[A, S, B, C]`` for ``[S,
        B, ...]``.
        """
        return self.cohort.student(x) if self.cohort.student is not None else self.cohort(x)

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums; make its dropout repeatable."""
        self._sums = {}
        if self.seeds is not None:
            others = (self.global_rank,) if self.global_rank else ()
            torch.manual_seed(hash((*self.seeds, self.current_epoch, *others)) & 0x7FFFFFFF)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Sum of the students' losses, whose gradient for each is that of its own; of a whole epoch
        all its steps.
        """
        if isinstance(batch, WholeEpoch):
            self._take_steps(batch)
            return None
        return self._loss(as_batch(batch))

    def _loss(self, batch: Batch) -> Tensor:
        counts = batch.counts or _counted(batch.y)
        terms: Terms | _GuidedTerms
        if suits_chunks(self.cohort.student, self.objective, batch.y) and self.feature_term is None:
            signal = self.signal if self.objective.needs_teacher else None
            terms = chunked_terms(self.cohort.student, self.objective, batch, signal, counts)
        elif self.feature_term is None:
            terms = self._compute(
                batch.x, self._teacher_logits(batch), batch.y, batch.mixed, counts
            )
        else:
            terms = self._guided(self.feature_term, batch, counts)
        self._add(terms, counts)
        return terms.loss.sum()

    def _guided(self, feature_term: FeatureTerm, batch: Batch, counts: Counts) -> _GuidedTerms:
        """The terms of a student that layers of the teacher guide; never compiled."""
        with feature_term.watching():
            teacher = self._teacher_logits(batch)
            terms = self._terms(batch.x, teacher, batch.y, batch.mixed, counts)
        predictions = batch.y.shape[2:].numel()  # in a sample
        feature = (feature_term().sum() * predictions / counts[1]).view(1, 1)
        return _GuidedTerms(terms.loss + feature, terms.hard, terms.soft, feature)

    def _terms(
        self, x: Tensor, teacher: Targets | None, y: Tensor, mixed: Mixed | None, counts: Counts
    ) -> Terms:
        logits = self.cohort(x)
        if y.ndim < 3:
            return self.objective(logits, teacher, y, mixed=mixed, counts=counts)
        ignored = None if isinstance(counts[0], float) else (y == UNLABELLED).flatten(1)
        teacher = None if teacher is None else _each(teacher, lambda part: part.flatten(1, 2))
        return self.objective(
            logits.flatten(-3, -2), teacher, y.flatten(1), ignored=ignored, counts=counts
        )

    def compile_steps(self, mode: bool | str = True) -> None:
        """Compile what a training step computes, students and losses, by ``torch.compile``.

        Args:
            mode: True for PyTorch's default, False for none, or a mode of ``torch.compile`` such as
                ``reduce-overhead`` (CUDA graphs).
        """
        self._compute = self._terms
        if mode:
            torch.compiler.reset()  # else students of many shapes would exhaust what PyTorch compiles of one function
            compiled = torch.compile(
                self._terms, dynamic=False, mode=None if mode is True else mode
            )
            self._compute = self._after_rehearsal(compiled)

    def _after_rehearsal(self, compiled: Callable[..., Terms]) -> Callable[..., Terms]:
        """The compiled step; before the first one an uncompiled, so that what is kept between steps
        is there.
        """

        def first(*arguments: Any) -> Terms:
            with torch.random.fork_rng(), torch.no_grad():
                self._terms(*arguments)
            self._compute = compiled
            return compiled(*arguments)

        return first

    def _take_steps(self, epoch: WholeEpoch) -> None:
        """All optimizer steps of an epoch: what Lightning's loop does for one device, without its
        cost per step.
        """
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        schedule: Any = self.lr_schedulers()
        parameters = self._trained()
        cast = torch.is_autocast_enabled(self.device.type)
        steps, done, told = len(epoch.batches), 0, time.monotonic()
        plain = type(self.trainer.precision_plugin) is Precision
        for batch in epoch.batches if plain else drawn_outside(epoch.batches, self.device.type):
            loss = self._loss(as_batch(self._on_device(batch)))
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if cast:
                torch.clear_autocast_cache()  # it holds the weights as they were
            self.cohort.bound_norms()
            done += 1
            if (now := time.monotonic()) - told > TELL_SECONDS:
                told = now
                self.tell(done / steps)
            if self.trainer.received_sigterm:
                raise SIGTERMException
        counted = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for progress in (counted.total, counted.current):
            progress.ready += done
            progress.completed += done

    def _on_device(self, batch: Any) -> Any:
        """A batch as Lightning would give it: in the precision asked for, on the device."""
        plugin = self.trainer.precision_plugin
        batch = (
            batch if type(plugin) in (Precision, MixedPrecision) else plugin.convert_input(batch)
        )
        return (
            batch
            if isinstance(batch, Batch)
            else self.trainer.strategy.batch_to_device(batch, self.device)
        )

    def _teacher_logits(self, batch: Batch) -> Targets | None:
        """The teacher's answers for each sample of the batch, if any objective needs them."""
        if self.signal is None or not self.objective.needs_teacher:
            return None
        if batch.sample is not None:
            return self.signal(batch.x, batch.sample, batch.view)
        found = self.signal(batch.x.flatten(0, 1), None, None)
        return _each(found, lambda part: part.unflatten(0, batch.x.shape[:2]))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Cross-entropy and accuracy of every student."""
        batch = as_batch(batch)
        logits, y = self.cohort(batch.x), batch.y
        if y.ndim == 3:
            logits, y = logits.flatten(-3, -2), y.flatten(1)
        labelled = (y != UNLABELLED).sum(-1)
        right = (logits.argmax(-1) == y).sum(-1)
        loss = hard_loss(logits, y).sum(-1)
        means = loss / labelled.clamp(min=1), right.float() / labelled.clamp(min=1)
        self._sums["val"] = self._summed("val", torch.stack(means), labelled)

    def _add(self, terms: Terms | _GuidedTerms, counts: Counts) -> None:
        """Add a batch's terms to the epoch's sums; nothing waits for the device."""
        values = torch.stack([term.detach() for term in terms])
        labelled, samples = counts
        if isinstance(labelled, Tensor):
            labelled = labelled.expand(values.shape[1:]).to(values.dtype)
            everyone = torch.as_tensor(samples, dtype=values.dtype, device=values.device).expand_as(
                labelled
            )
            labelled = torch.stack([everyone, labelled, *[everyone] * (len(values) - 2)])
        self._sums["train"] = self._summed("train", values, labelled)

    def _summed(
        self, stage: str, values: Tensor, counts: Tensor | float
    ) -> tuple[Tensor, Tensor | float]:
        """The stage's sums, means ``[metrics, A, S]`` times counts, and the counts they have in
        all.
        """
        if stage not in self._sums:
            return values * counts, counts
        sums, counted = self._sums[stage]
        if isinstance(counts, Tensor):
            return sums.addcmul_(
                values, counts.to(values.dtype).expand_as(values)
            ), counted + counts
        return sums.add_(values, alpha=counts), counted + counts

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and note which students diverged.

        Raises:
            DivergedError: all of them did; a student alone takes no other with it.
        """
        means = self._log("train")
        for arm, row in enumerate(means.get("train_loss", [])):
            for seed, loss in enumerate(row):
                if not abs(loss) < float("inf"):
                    self._diverged.setdefault((arm, seed), self._sentence(arm, seed, loss))
        if len(self._diverged) == self.cohort.arms * self.cohort.seeds:
            raise DivergedError(next(iter(self._diverged.values())))

    def _sentence(self, arm: int, seed: int, loss: float) -> str:
        name = self.prefixes[arm][seed].rstrip("/") or "the student"
        return (
            f"Training diverged: the loss of {name} was {loss} in epoch {self.current_epoch + 1}. "
            "Lower optimizer.lr, "
            "or clip with trainer.gradient_clip_val=1."
        )

    def on_validation_epoch_start(self) -> None:
        """Begin the sums of a validation."""
        self._sums.pop("val", None)

    def on_validation_epoch_end(self) -> None:
        """Log validation means."""
        self._log("val")

    def _log(self, stage: str) -> dict[str, list[list[float]]]:
        if stage not in self._sums:
            return {}
        sums, counts = (
            self.trainer.strategy.reduce(torch.as_tensor(part, device=self.device), reduce_op="sum")
            for part in self._sums[stage]
        )
        found = (sums / counts.clamp(min=1e-6)).tolist()
        means = dict(zip(METRICS[stage][: len(found)], found, strict=True))
        scalars = {
            prefix + name: value
            for name, grid in means.items()
            for prefixes, row in zip(self.prefixes, grid, strict=True)
            for prefix, value in zip(prefixes, row, strict=True)
        }
        fitting = self.trainer.state.fn == "fit"
        self.log_dict(scalars, logger=not fitting)
        # Now and not when the epoch has ended, so that no checkpoint is ahead of its scalars.
        for logger in self.loggers if fitting else ():
            logger.log_metrics({**scalars, "epoch": self.current_epoch}, step=self.global_step)
        return means

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule."""
        if isinstance(self.optimizer, torch.optim.Optimizer):
            if self.feature_term is not None and list(self.feature_term.parameters()):
                raise ConfigError(
                    "A hint has a projection to train, which a ready optimizer does not know; give "
                    "optimizer settings, "
                    "or a function that makes one from parameters."
                )
            return self.optimizer
        if not isinstance(self.optimizer, Optimizer):
            return self.optimizer(self._trained())
        steps = self._steps() if self.optimizer.schedule != "constant" else 0
        # A fused optimizer undoes float16's loss scale by itself, too late for clipping.
        unscaled = getattr(self.trainer.precision_plugin, "scaler", None) is None
        optimizer, schedule = self.optimizer.build(self._trained(), steps, fused=unscaled)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _steps(self) -> int:
        """Optimizer steps of the whole training."""
        steps = int(self.trainer.estimated_stepping_batches)
        loader = self.trainer.train_dataloader
        return steps * len(loader.loader) if isinstance(loader, WholeEpochs) else steps

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each student's gradient by its own norm; clipping by value is elementwise already."""
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            self.cohort.clip_gradients(float(gradient_clip_val))
            if self.feature_term is not None:
                torch.nn.utils.clip_grad_norm_(
                    self.feature_term.parameters(), float(gradient_clip_val)
                )
        else:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Put bounded weights back within their bound."""
        if not isinstance(batch, WholeEpoch):
            self.cohort.bound_norms()


def _counted(y: Tensor) -> Counts:
    """Labelled predictions and predictions of each seed, for labels ``[S, B]`` or, of text, ``[S,
    B, T]``.
    """
    labelled = (y != UNLABELLED).flatten(1).sum(-1)
    return labelled, labelled if y.ndim == 3 else float(y.shape[-1])


def _each(targets: Targets, fn: Callable[[Tensor], Tensor]) -> Targets:
    """A teacher's answers with ``fn`` applied to each tensor."""
    return fn(targets) if isinstance(targets, Tensor) else targets.map(fn)
