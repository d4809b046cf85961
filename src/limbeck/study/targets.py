"""The teacher's signal for each cohort: stored answers where that is not more work, else the
teacher itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.transfer_set import mixing_pool
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.run.manifest import StoreUse
from limbeck.store.answers import Precision, TeacherPass
from limbeck.store.build import is_complete, open_store
from limbeck.store.settings import StoreSettings
from limbeck.study.arms import ArmPlan
from limbeck.study.cohorts import CohortPlan
from limbeck.study.pools import Pools
from limbeck.teacher.signal import LiveTeacher, TeacherSignal


def limit_views(plans: Sequence[ArmPlan], settings: StoreSettings) -> list[ArmPlan]:
    """Limit endless views for which a teacher's answers may be stored.

    The limit holds in every arm with these views, also in controls, so that pairs see the same.
    """
    if settings.mode == "off":
        return list(plans)
    answered = [plan.views for plan in plans if plan.objective.needs_teacher]
    limited = []
    for plan in plans:
        if plan.views in answered:
            plan = replace(plan, views=plan.views.limited(settings.views))
        limited.append(plan)
    return limited


def check_kind(plans: Sequence[ArmPlan], settings: StoreSettings) -> None:
    """Check that all arms can learn from the part of an answer that is stored.

    Raises:
        ConfigError: If a soft loss needs the whole distribution, or classes are drawn and arms
            differ in temperature.
    """
    if settings.mode == "off" or settings.kind == "dense":
        return
    learners = [plan for plan in plans if _learns_from_answers(plan)]
    for plan in learners:
        _check_objective(plan, settings)
    temperatures = sorted({plan.objective.temperature for plan in learners})
    if settings.kind == "sampled" and len(temperatures) > 1:
        values = ", ".join(f"{temperature:g}" for temperature in temperatures)
        raise ConfigError(
            "store.kind=sampled draws a teacher's tokens at one temperature, but the arms have "
            f"{values}. Give them the same objective.temperature, or use store.kind=topk or dense."
        )


def _check_objective(plan: ArmPlan, settings: StoreSettings) -> None:
    objective = plan.objective
    if SOFT_LOSSES[objective.soft].sparse is None:
        setting = f"soft={objective.soft}"
    elif objective.standardise:
        setting = "standardise=true"
    else:
        return
    names = [loss.name for loss in SOFT_LOSSES.values() if loss.sparse]
    raise ConfigError(
        f"arms.{plan.name}: objective.{setting} needs a teacher's whole distribution, but "
        f"store.kind={settings.kind} keeps a part. Use store.kind=dense, or "
        f"objective.soft={' or '.join(names)}."
    )


class Signals:
    """The teacher's signals of a study: cohorts with the same inputs and views share one.

    Args:
        teacher: Teacher of the study.
        pools: Samples that transfer sets select from.
        settings: Settings of the store.
        cohorts: Cohorts of the study.
        precision: Precision of the training, in which answers are computed too.
        device: Device of the training.
        progress: Display of the stages.

    Attributes:
        stores: Facts about each opened store by its key, for the manifest.
    """

    def __init__(
        self,
        teacher: LiveTeacher,
        pools: Pools,
        settings: StoreSettings,
        cohorts: Sequence[CohortPlan],
        *,
        precision: Precision,
        device: torch.device,
        progress: StageProgress,
    ):
        self.teacher = teacher
        self.pools = pools
        self.settings = settings
        self.cohorts = [cohort for cohort in cohorts if any(map(_learns_from_answers, cohort.arms))]
        self.precision = precision
        self.device = device
        self.progress = progress
        self.stores: dict[str, StoreUse] = {}
        self._signals: dict[tuple[Any, ...], TeacherSignal] = {}

    def of(self, plan: ArmPlan) -> TeacherSignal:
        """The signal for an arm's cohort; answers are computed when they are first needed.

        Args:
            plan: Any arm of the cohort, also a control.

        Raises:
            ResourceError: If the answers cannot be stored.
            UntrustedFileError: If stored answers are damaged and cannot be repaired.
            TeacherError: If answers do not fit the store, or are not those of the teacher.
        """
        if self.settings.mode == "off" or plan.objective.features:
            return self.teacher
        shared = _sharing_key(plan)
        if shared not in self._signals:
            self._signals[shared] = self._stored_or_live(plan)
        return self._signals[shared]

    def _stored_or_live(self, plan: ArmPlan) -> TeacherSignal:
        """Stored answers, unless running the teacher in every step is less work."""
        teacher_pass, live_count = self._teacher_pass(plan)
        settings = self.settings
        header = teacher_pass.header(settings.dtype, kind=settings.kind, k=settings.k)
        if teacher_pass.count > live_count and not is_complete(settings.root, header):
            return self.teacher
        signal = open_store(teacher_pass, header, settings.root, self.progress)
        self.stores[header.key] = StoreUse(
            rows=header.rows,
            views=plan.views.name,
            dtype=header.dtype,
            kind=header.kind,
            k=header.k,
            positions=header.positions,
            classes=header.classes,
            record_bytes=header.record_bytes,
        )
        return signal

    def _teacher_pass(self, plan: ArmPlan) -> tuple[TeacherPass, int]:
        """The pass that computes all answers, and the number of inputs that training would ask."""
        data, pool = self.pools.data, self.pools.of(plan.transfer)
        rows = {}
        live_count = 0
        temperature = 1.0
        for cohort in self.cohorts:
            first = cohort.arms[0]
            if _sharing_key(first) != _sharing_key(plan):
                continue
            rows[first.transfer] = first.transfer.select(pool, data.class_names)[0]
            live_count += len(rows[first.transfer]) * len(cohort.seeds) * first.epochs
            # Arms that share a store of sampled classes have one temperature, see check_kind.
            temperature = next(
                p.objective.temperature for p in cohort.arms if _learns_from_answers(p)
            )
        source = plan.transfer.source
        mixed = None
        if plan.views.mixes:
            mixed = mixing_pool(*plan.transfer.select(pool, data.class_names))
        teacher_pass = TeacherPass(
            teacher=self.teacher,
            inputs=pool.inputs,
            rows=torch.cat(list(rows.values())).unique(),
            views=plan.views,
            classes=data.classes,
            device=self.device,
            precision=self.precision,
            data_name=data.name if source is None else source.name,
            pool=mixed,
            positions=data.positions,
            vocabulary=None if data.tokenizer is None else data.tokenizer.digest,
            temperature=temperature,
        )
        return teacher_pass, live_count


def _learns_from_answers(plan: ArmPlan) -> bool:
    """Whether all that an arm needs of the teacher can be stored: its answers, not its layers."""
    return plan.objective.needs_teacher and not plan.objective.features


def _sharing_key(plan: ArmPlan) -> tuple[Any, ...]:
    """Key that arms with a common store share: inputs, views and, if these mix, samples."""
    mixed = plan.transfer if plan.views.mixes else None
    return plan.views, plan.transfer.source, mixed
