"""Examination of a study before it is run: its data, its teacher and its losses."""

from typing import TYPE_CHECKING

import torch

from limbeck._base.errors import TeacherError
from limbeck.data.examination import examine_data
from limbeck.run.finding import NOTE, STOP, Finding, with_level
from limbeck.study.answers import AnswersSource
from limbeck.study.gradients import examine_losses
from limbeck.study.teacher import TeacherSource
from limbeck.teacher.examination import raise_or_warn

if TYPE_CHECKING:
    from limbeck.study.study import Study

UNTRAINED = "The teacher will be trained by the run, so there is nothing to examine yet."
CONTROLS = "The study has no teacher."


def examine_teacher(teacher: TeacherSource | AnswersSource | None, device: torch.device) -> None:
    """Stop, or warn, if a teacher that is there already does not fit the labelled samples.

    Args:
        teacher: Teacher of the study; None for controls alone.
        device: Device on which it runs.

    Raises:
        TeacherError: If it does not fit.
    """
    if teacher is not None:
        raise_or_warn(teacher.examine(device), teacher.switch_off)


def examine_study(
    study: "Study", teacher: TeacherSource | AnswersSource | None, device: torch.device
) -> list[Finding]:
    """Examine a study.

    Args:
        study: Study.
        teacher: Its teacher; None for controls alone.
        device: Device on which the teacher runs.

    Returns:
        The findings about the data, the teacher and the losses.

    Raises:
        ConfigError: If a setting does not fit the dataset or machine.
    """
    findings = examine_data(study.data)
    try:
        study.check(examine=False)
        if teacher is None or not teacher.exists:
            text = CONTROLS if teacher is None else UNTRAINED
            return [*findings, Finding(level=NOTE, subject="teacher", text=text)]
        findings += teacher.examine(device)
    except TeacherError as error:
        return [*findings, Finding(level=STOP, subject="teacher", text=str(error))]
    signal = teacher.existing()
    if signal is None or with_level(findings, STOP):
        return findings
    signal.prepare(torch.device("cpu"))
    for plan in study.plans:
        if plan.transfer.source is None:
            pool, batch_size = study.data.train, study.schedule.batch_size
            findings += examine_losses(plan, signal, study.data, pool, batch_size)
    return findings
