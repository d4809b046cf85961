"""Which signal a cohort learns from: a teacher's stored answers where keeping them is not more
work, or the teacher.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.transfer_set import mixing_pool
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.store.answers import Answers
from limbeck.store.store import StoreSettings, is_complete, open_store
from limbeck.study.arms import ArmPlan
from limbeck.study.pools import Pools
from limbeck.teacher.signal import LiveTeacher, TeacherSignal


def limit_views(plans: Sequence[ArmPlan], settings: StoreSettings) -> list[ArmPlan]:
    """Give endless views an end where a teacher's answers to them are to be kept: in each arm,
    controls too, so that pairs see the same.
    """
    if settings.mode == "off":
        return list(plans)
    asked = [plan.views for plan in plans if plan.objective.needs_teacher]
    return [
        replace(p, views=p.views.limited(settings.views)) if p.views in asked else p for p in plans
    ]


def check_kind(plans: Sequence[ArmPlan], settings: StoreSettings) -> None:
    """Check that arms can learn from what is kept of an answer.

    Raises:
        ConfigError: a soft loss needs the whole distribution; or answers are drawn, and arms differ
            in temperature.
    """
    learners = [plan for plan in plans if _learns_from_answers(plan)]
    if settings.mode == "off" or settings.kind == "dense":
        return
    for plan in learners:
        objective = plan.objective
        has_sparse_form = SOFT_LOSSES[objective.soft].sparse is not None
        if not has_sparse_form or objective.standardise:
            lacking = "standardise=true" if has_sparse_form else f"soft={objective.soft}"
            names = [loss.name for loss in SOFT_LOSSES.values() if loss.sparse]
            raise ConfigError(
                f"arms.{plan.name}: objective.{lacking} needs a teacher's whole distribution, and "
                "store.kind="
                f"{settings.kind} keeps a part. Use store.kind=dense, or "
                f"objective.soft={' or '.join(names)}."
            )
    found = sorted({plan.objective.temperature for plan in learners})
    if settings.kind == "sampled" and len(found) > 1:
        raise ConfigError(
            f"store.kind=sampled draws a teacher's tokens at one temperature, and the arms have "
            f"{', '.join(f'{t:g}' for t in found)}. Give them one objective.temperature, or use "
            "store.kind=topk or "
            "dense."
        )


class Signals:
    """The signals of a study, one for all cohorts that share views.

    Args:
        teacher: who answers.
        pools: what the transfer sets pick from.
        settings: of the store.
        cohorts: of the study, each with its arms and seeds.
        ask: logits for inputs, in the precision of the training.
        precision: its name.
        device: where to compute.
        progress: shows the stages.

    Attributes:
        used: facts of each store that was opened, by key, for the manifest.
    """

    def __init__(
        self,
        teacher: LiveTeacher,
        pools: Pools,
        settings: StoreSettings,
        cohorts: Sequence[tuple[Sequence[ArmPlan], Sequence[int]]],
        *,
        ask: Callable[[Tensor], Tensor],
        precision: str,
        device: torch.device,
        progress: StageProgress,
    ):
        self.teacher, self.pools, self.settings = teacher, pools, settings
        self.cohorts = [(p, s) for p, s in cohorts if any(map(_learns_from_answers, p))]
        self.ask, self.precision, self.device = ask, precision, device
        self.progress = progress
        self.used: dict[str, dict[str, Any]] = {}
        self._made: dict[Any, TeacherSignal] = {}

    def of(self, plan: ArmPlan) -> TeacherSignal:
        """The signal of an arm's cohort, of which it may be the control; the answers are computed
        when first needed.

        Raises:
            ResourceError: they cannot be kept where they should be.
            UntrustedFileError: what was kept is damaged and cannot be mended.
            TeacherError: they cannot be kept, or what was kept is not the teacher's.
        """
        if self.settings.mode == "off" or plan.objective.features:
            return self.teacher
        shared = _shared(plan)
        if shared not in self._made:
            self._made[shared] = self._stored_or_live(plan)
        return self._made[shared]

    def _stored_or_live(self, plan: ArmPlan) -> TeacherSignal:
        data, pool = self.pools.data, self.pools.of(plan.transfer)
        sharing = [
            (p[0], len(seeds)) for p, seeds in self.cohorts if _shared(p[0]) == _shared(plan)
        ]
        picked = {p.transfer: p.transfer.select(pool, data.class_names)[0] for p, _ in sharing}
        asked_live = sum(len(picked[p.transfer]) * seeds * p.epochs for p, seeds in sharing)
        mixed_in = (
            mixing_pool(*plan.transfer.select(pool, data.class_names)) if plan.views.mixes else None
        )
        source = plan.transfer.source
        answers = Answers(
            teacher=self.teacher,
            inputs=pool.inputs,
            rows=torch.cat(list(picked.values())).unique(),
            views=plan.views,
            classes=data.classes,
            device=self.device,
            precision=self.precision,
            ask=self.ask,
            data_name=data.name if source is None else source.name,
            pool=mixed_in,
            positions=data.positions,
            vocabulary=None if data.tokenizer is None else data.tokenizer.digest,
            temperature=self._temperature(plan),
        )
        kept, root = self.settings, self.settings.root
        header = answers.header(kept.dtype, kind=kept.kind, k=kept.k)
        if answers.count > asked_live and not is_complete(root, header):
            return self.teacher
        signal = open_store(answers, header, root, self.progress)
        self.used[header.key] = {
            "rows": header.rows,
            "views": plan.views.name,
            "dtype": header.dtype,
            "kind": header.kind,
            "k": header.k,
            "positions": header.positions,
            "classes": header.classes,
            "record_bytes": header.record_bytes,
        }
        return signal

    def _temperature(self, plan: ArmPlan) -> float:
        """T of the arms that learn from the same answers: one, where it matters
        (:func:`check_kind`).
        """
        learners = [p for plans, _ in self.cohorts for p in plans if _shared(p) == _shared(plan)]
        return next(p.objective.temperature for p in learners if _learns_from_answers(p))


def _learns_from_answers(plan: ArmPlan) -> bool:
    """Whether all that an arm needs of the teacher can be kept: its answers, not its layers."""
    return plan.objective.needs_teacher and not plan.objective.features


def _shared(plan: ArmPlan) -> tuple[Any, ...]:
    """What arms have in common that can use one store: inputs and views; where these mix samples,
    which ones too.
    """
    return plan.views, plan.transfer.source, plan.transfer if plan.views.mixes else None
