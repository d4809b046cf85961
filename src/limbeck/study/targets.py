"""The teacher's signal for each cohort: stored answers, or the live teacher if that is faster."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset
from limbeck.data.transfer_set import mixing_pool
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.losses.sparse import topk_refusal
from limbeck.run.manifest import StoreUse
from limbeck.store.answers import Precision, TeacherPass
from limbeck.store.build import is_complete, open_store
from limbeck.store.settings import StoreSettings
from limbeck.store.shards import ComputeShards, compute_shards
from limbeck.study.arms import ArmPlan
from limbeck.study.cohorts import CohortPlan
from limbeck.study.pools import TransferPools
from limbeck.study.teacher_scores import Teachers
from limbeck.teacher.file_teacher import DatasetAnswers
from limbeck.teacher.signal import JoinedTeachers, LiveTeacher, TeacherSignal


def limit_views(plans: Sequence[ArmPlan], settings: StoreSettings) -> list[ArmPlan]:
    """Limit the number of views for which the teacher's answers may be stored.

    The limit applies to all arms with these views, including controls, so that an arm and its
    control are trained on the same views.
    """
    if settings.mode == "off":
        return list(plans)
    teacher_views = [plan.views for plan in plans if plan.objective.needs_teacher]
    limited_plans = []
    for plan in plans:
        if plan.views in teacher_views:
            plan = replace(plan, views=plan.views.limited(settings.views))
        limited_plans.append(plan)
    return limited_plans


def check_kind(plans: Sequence[ArmPlan], settings: StoreSettings, data: Dataset) -> None:
    """Check that all arms can be trained with the kind of answers that is stored.

    Args:
        plans: Arms of the study.
        settings: Settings of the store.
        data: Dataset of the study.

    Raises:
        ConfigError: If the outputs are no logits of classes, a soft loss needs the whole
            distribution, the most probable classes are stored and a temperature is below 1, or
            classes are sampled and arms differ in temperature.
    """
    if settings.mode == "off" or settings.kind == "dense":
        return
    if not data.kind.has_classes:
        raise ConfigError(
            f"store.kind={settings.kind} keeps the probabilities of some classes, but the outputs "
            f"for {data.kind.description} are no distribution. Use store.kind=dense."
        )
    learners = [plan for plan in plans if _learns_from_answers(plan)]
    for plan in learners:
        _check_objective(plan, settings)
        temperature = plan.objective.temperature
        if settings.kind == "topk" and temperature < 1 and settings.k < data.classes - 1:
            raise ConfigError(f"arms.{plan.name}: {topk_refusal(temperature)}")
    temperatures = sorted({plan.objective.temperature for plan in learners})
    if settings.kind == "sampled" and len(temperatures) > 1:
        values = ", ".join(f"{temperature:g}" for temperature in temperatures)
        raise ConfigError(
            "store.kind=sampled samples a teacher's tokens at one temperature, but the arms have "
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
        f"store.kind={settings.kind} stores only part of it. Use store.kind=dense, or "
        f"objective.soft={' or '.join(names)}."
    )


class TeacherSignals:
    """Teacher signals of a study. Cohorts with the same inputs and views share one signal.

    Args:
        teachers: Teacher of each training and validation split.
        pools: Sample pools of the transfer sets.
        settings: Settings of the store.
        cohorts: Cohorts of the study.
        precision: Precision of the training and of the teacher's answers.
        device: Device of the training.
        progress: Progress display.
        compute: Function that computes the answers to store.

    Attributes:
        stores: Description of each opened store for the manifest, by key.
    """

    def __init__(
        self,
        teachers: Teachers,
        pools: TransferPools,
        settings: StoreSettings,
        cohorts: Sequence[CohortPlan],
        *,
        precision: Precision,
        device: torch.device,
        progress: StageProgress,
        compute: ComputeShards = compute_shards,
    ):
        self.teachers = list(teachers)
        self.pools = pools
        self.settings = settings
        self.cohorts = [cohort for cohort in cohorts if any(map(_learns_from_answers, cohort.arms))]
        self.precision = precision
        self.device = device
        self.progress = progress
        self.compute = compute
        self.stores: dict[str, StoreUse] = {}
        self._signals: dict[tuple[Any, ...], TeacherSignal] = {}

    def get(self, plan: ArmPlan, seeds: Sequence[int]) -> TeacherSignal:
        """Return the signal for the cohort of an arm. Answers are computed at first use.

        Args:
            plan: Any arm of the cohort, possibly a control.
            seeds: Seeds of the cohort.

        Raises:
            ResourceError: If the answers cannot be stored.
            UntrustedFileError: If stored answers are damaged and cannot be repaired.
            TeacherError: If the answers do not fit the store, or differ from those of the teacher.
        """
        parts = []
        for number, group in self.pools.splits.groups(seeds):
            parts.append((self._signal_of_split(plan, number), len(group)))
        first = parts[0][0]
        if all(signal is first for signal, _ in parts):
            return first
        return JoinedTeachers(parts)

    def _signal_of_split(self, plan: ArmPlan, number: int) -> TeacherSignal:
        """Return the signal for the students of one split."""
        teacher = self.teachers[number]
        if isinstance(teacher, DatasetAnswers):
            return teacher.signal
        if self.settings.mode == "off" or plan.objective.features:
            return teacher
        numbers = self._splits_with_store_of(plan, number)
        key = (*_sharing_key(plan), numbers)
        if key not in self._signals:
            self._signals[key] = self._choose_signal(plan, teacher, numbers)
        return self._signals[key]

    def _splits_with_store_of(self, plan: ArmPlan, number: int) -> tuple[int, ...]:
        """Numbers of the splits that share a store: of one teacher, unless views mix samples."""
        if plan.views.mixes:
            return (number,)
        teacher = self.teachers[number]
        return tuple(other for other, owner in enumerate(self.teachers) if owner is teacher)

    def _choose_signal(
        self, plan: ArmPlan, teacher: LiveTeacher, numbers: Sequence[int]
    ) -> TeacherSignal:
        """Return stored answers, or the teacher if running it in every step is less work."""
        teacher_pass, live_count = self._teacher_pass(plan, teacher, numbers)
        settings = self.settings
        # half precision has three digits: too few for values far from 0
        has_values = self.pools.data.kind.outputs == "values"
        dtype = "float32" if has_values else settings.dtype
        header = teacher_pass.header(dtype, kind=settings.kind, k=settings.k)
        if teacher_pass.count > live_count and not is_complete(settings.root, header):
            return teacher
        signal = open_store(teacher_pass, header, settings.root, self.progress, self.compute)
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

    def _teacher_pass(
        self, plan: ArmPlan, teacher: LiveTeacher, numbers: Sequence[int]
    ) -> tuple[TeacherPass, int]:
        """Return the pass over all answers, and the number of teacher inputs without a store."""
        data, splits = self.pools.data, self.pools.splits
        rows = {}
        live_count = 0
        temperature = 1.0
        for cohort in self.cohorts:
            first = cohort.arms[0]
            if _sharing_key(first) != _sharing_key(plan):
                continue
            for number, group in splits.groups(cohort.seeds):
                if number in numbers:
                    selected = self.pools.select(first.transfer, number)[0]
                    rows[first.transfer, number] = selected
                    live_count += len(selected) * len(group) * first.epochs
            # Arms that share a store of sampled classes have one temperature, see check_kind.
            temperature = next(
                p.objective.temperature for p in cohort.arms if _learns_from_answers(p)
            )
        source = plan.transfer.source
        partners = None
        if plan.views.mixes:
            partners = mixing_pool(*self.pools.select(plan.transfer, numbers[0]))
        teacher_pass = TeacherPass(
            teacher=teacher,
            inputs=self.pools.get(plan.transfer).inputs,
            rows=torch.cat(list(rows.values())).unique(),
            views=plan.views,
            classes=data.classes,
            device=self.device,
            precision=self.precision,
            data_name=data.name if source is None else source.name,
            pool=partners,
            positions=data.positions,
            vocabulary=None if data.tokenizer is None else data.tokenizer.digest,
            padding=data.padding,
            temperature=temperature,
        )
        return teacher_pass, live_count


def _learns_from_answers(plan: ArmPlan) -> bool:
    """Whether an arm needs only the teacher's answers, which can be stored, and no features."""
    return plan.objective.needs_teacher and not plan.objective.features


def _sharing_key(plan: ArmPlan) -> tuple[Any, ...]:
    """Return the key of arms that share a store: views, source and, if views mix, transfer set."""
    transfer = plan.transfer if plan.views.mixes else None
    return plan.views, plan.transfer.source, transfer
