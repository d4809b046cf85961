"""Distillation as a LightningModule, for your own Trainer."""

from collections.abc import Sequence
from typing import Any

import lightning as L
from torch import Tensor, nn
from torch.utils.data import DataLoader

from limbeck._base.errors import ConfigError, DivergedError
from limbeck.data.batch_forms import BatchNames, Key, Names
from limbeck.data.inputs import Inputs, ModelInputs
from limbeck.data.loaders import find_fault
from limbeck.losses import Objective
from limbeck.teacher.adapt import TeacherModels
from limbeck.teacher.signal import TeacherSignal
from limbeck.training.cohort.stack import Cohort
from limbeck.training.fabric import check_loss_scale
from limbeck.training.optimizer import OptimizerLike, build_optimizer
from limbeck.training.task import DistillationTask


class DistillationModule(L.LightningModule):
    """Trains students from labels and, if there is one, from a teacher.

    Works with any ``lightning.Trainer`` and any loader of ``(x, y)`` batches, tuples of more parts
    or dictionaries. Without a teacher it is plain supervised training. Labels ``[B, T]`` are those
    of a language model, whose logits are ``[B, T, C]``: the losses count each position, but not
    those whose label is -100.

    Logs per epoch ``train_loss``, ``train_hard``, ``train_soft``, ``val_loss`` (cross-entropy with
    the labels, nats) and ``val_acc``, and ``train_feature`` where layers guide the student; for a
    cohort each under ``<arm>/seed<N>/``. ``Trainer.test`` logs ``test_loss`` and ``test_acc``, and
    ``Trainer.predict`` returns logits.

    Args:
        student: Model that returns logits ``[B, C]``, or a
            :class:`~limbeck.training.cohort.stack.Cohort`.
        teacher: Frozen model of any kind, as for :func:`limbeck.distill`, or a
            :class:`~limbeck.teacher.signal.TeacherSignal`. It is neither trained nor saved in
            checkpoints.
        objective: One objective, or one per arm of the cohort. By default the distillation
            objective with a teacher, labels only without.
        optimizer: Settings; or a ``torch.optim.Optimizer`` that holds the student's parameters; or
            a function that creates one from parameters.
        arm_names: Names of the cohort's arms.
        seeds: Seeds of the cohort. The dropout of a student then depends on its seed and the epoch
            alone, so that a resumed training repeats it.
        inputs: Key or position of the student's input in a batch, as for :func:`limbeck.train`.
        labels: Key or position of the labels in a batch.
        teacher_inputs: Key or position of the teacher's input, as for :func:`limbeck.distill`.

    Raises:
        TeacherError: If an objective needs a teacher and there is none, its weights are not finite,
            or it shares layers with the student.
        ConfigError: If numbers of objectives, names and arms differ, or a layer of a feature does
            not exist, or the teacher or the cohort is not one model.
    """

    def __init__(
        self,
        student: nn.Module | Cohort,
        teacher: TeacherModels | TeacherSignal | None = None,
        objective: Objective | Sequence[Objective] | None = None,
        *,
        optimizer: OptimizerLike | None = None,
        arm_names: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        inputs: Names | None = None,
        labels: Key | None = None,
        teacher_inputs: Names | None = None,
    ):
        super().__init__()
        task = DistillationTask(
            student,
            teacher,
            objective,
            optimizer=optimizer,
            arm_names=arm_names,
            seeds=seeds,
            names=BatchNames(inputs, labels, teacher_inputs),
        )
        # A tuple keeps the task out of the names of weights in checkpoints.
        self._task = (task,)
        self.cohort, self.feature_term = task.cohort, task.feature_term

    @property
    def task(self) -> DistillationTask:
        """The computation of training and validation steps."""
        return self._task[0]

    @property
    def diverged(self) -> list[tuple[int, int, str]]:
        """Students whose loss became infinite or not a number: arm and seed by position, reason."""
        return self.task.divergence.students

    def forward(self, x: ModelInputs) -> Tensor:
        """Logits ``[B, C]`` of a single student for ``[B, ...]``, else ``[A, S, B, C]`` for
        ``[S, B, ...]``.
        """
        if self.cohort.student is None:
            return self.cohort(x)
        return self.cohort(x if isinstance(x, Inputs) else x[None])[0, 0]

    def setup(self, stage: str) -> None:
        """Create the projections of hints, before the optimizer is created."""
        if stage == "fit" and self.feature_term is not None:
            self.trainer.fit_loop.setup_data()
            self.task.fit_projections(self.trainer.train_dataloader or ())

    def configure_optimizers(self) -> Any:
        """Create the optimizer and its schedule.

        Raises:
            ConfigError: If the precision does not suit a cohort, the optimizer has none of the
                student's parameters, or its settings ask for an average of the weights.
        """
        if getattr(self.task.optimizer, "averaging", None) is not None:
            raise ConfigError(
                "optimizer.averaging is for limbeck's own loop. With your own Trainer, pass it "
                "Lightning's callback: Trainer(callbacks=[EMAWeightAveraging()])."
            )
        check_loss_scale(self.cohort.students, self.trainer.precision_plugin)
        optimizer, scheduler = build_optimizer(
            self.task.optimizer,
            self.task.trained_parameters(),
            steps=lambda: int(self.trainer.estimated_stepping_batches),
            # A fused optimizer unscales float16 gradients itself, after clipping.
            fused=getattr(self.trainer.precision_plugin, "scaler", None) is None,
        )
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_epoch_start(self) -> None:
        """Reset the means, and seed the dropout of the epoch."""
        self.task.begin_epoch(self.current_epoch, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Sum of the students' losses, whose gradient for each student is that of its own.

        None, which leaves the batch out, for a single sample on which they cannot be trained.
        """
        batch = self.task.reader.read(batch)
        return self.task(batch) if self.task.can_train_on(batch) else None

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each student's gradient by its own norm; clipping by value is the Trainer's."""
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            self.task.clip_gradients(float(gradient_clip_val))
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then apply the norm bounds of bounded layers."""
        super().optimizer_step(*args, **kwargs)
        self.cohort.bound_norms()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means.

        Raises:
            DataError: If all students diverged, and an input is infinite or NaN.
            DivergedError: If all students diverged.
        """
        self.log_dict(self.task.train_scalars(self._sum_over_processes, self.current_epoch))
        try:
            self.task.divergence.check()
        except DivergedError:
            loader = self.trainer.train_dataloader
            if isinstance(loader, DataLoader):
                batches = self.trainer.num_training_batches
                fault = find_fault(loader, batches=batches, classes=None, reader=self.task.reader)
                if fault is not None:
                    raise fault from None
            raise

    def on_validation_epoch_start(self) -> None:
        """Reset the means of the validation."""
        self.task.begin_validation()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Compute cross-entropy and accuracy of every student."""
        self.task.validate(batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the validation."""
        self._log(self.task.val_scalars(self._sum_over_processes))

    def on_test_epoch_start(self) -> None:
        """Reset the means of the test."""
        self.task.begin_validation()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Compute cross-entropy and accuracy of every student."""
        self.task.validate(batch, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the means of the test."""
        self._log(self.task.val_scalars(self._sum_over_processes, "test"))

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits of a batch: inputs, or a pair of inputs and labels, which are ignored."""
        return self(self.task.inputs_of(batch))

    def _log(self, scalars: dict[str, float]) -> None:
        self.log_dict(scalars, add_dataloader_idx=False)  # the names have it already

    def _sum_over_processes(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values.clone(), reduce_op="sum")
