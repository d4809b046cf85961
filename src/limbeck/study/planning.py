"""Arms with all defaults filled in, and the controls that they are compared with."""

from collections.abc import Mapping, Sequence

from limbeck._base.checks import check_arm_names, check_count
from limbeck._base.errors import ConfigError
from limbeck.data import NoViews, TransferSet
from limbeck.losses import TASKS, Objective, Task
from limbeck.study.arms import Arm, ArmPlan


def plan_arms(
    arms: Mapping[str, Arm], defaults: Arm, task: Task = TASKS["classes"]
) -> list[ArmPlan]:
    """Fill in the settings that arms leave to the study.

    Args:
        arms: Arms by name.
        defaults: The study's student, views, transfer set, optimizer and epochs.
        task: Kind of target, whose losses take the place of the default ones.

    Raises:
        ConfigError: If a name is invalid, an arm has no student, or its control is not an arm.
    """
    check_arm_names(list(arms))
    assert defaults.optimizer is not None
    assert defaults.epochs is not None
    plans = []
    for name, arm in arms.items():
        if not isinstance(arm, Arm):
            raise ConfigError(
                f"arms.{name} should be a limbeck.Arm, but is of type {type(arm).__name__}."
            )
        student = arm.student or defaults.student
        if student is None:
            raise ConfigError(f"arms.{name} has no student. Set one for the arm or for the study.")
        epochs = defaults.epochs
        if arm.epochs is not None:
            epochs = check_count(f"arms.{name}.epochs", arm.epochs, minimum=0)
        plan = ArmPlan(
            name=name,
            objective=_objective_of(arm, name, task),
            student=student,
            views=arm.views or defaults.views or NoViews(),
            transfer=arm.transfer or defaults.transfer or TransferSet(),
            optimizer=arm.optimizer or defaults.optimizer,
            epochs=epochs,
            control=_control_names(name, arm, arms),
            choice=_choice(name, arm, task),
        )
        plans.append(plan)
    return plans


def _objective_of(arm: Arm, name: str, task: Task) -> Objective:
    try:
        return arm.objective.for_task(task)
    except ConfigError as error:
        raise ConfigError(f"arms.{name}: {error}") from None


def _control_names(name: str, arm: Arm, arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the names of the controls of an arm, without duplicates."""
    if arm.control is None:
        return ()
    names = [arm.control] if isinstance(arm.control, str) else arm.control
    if not isinstance(names, Sequence):
        raise ConfigError(
            f"arms.{name}.control={names!r} should be the name of an arm, or a list of names."
        )
    controls = tuple(dict.fromkeys(map(str, names)))
    for control in controls:
        if control not in arms or control == name:
            others = ", ".join(other for other in arms if other != name)
            raise ConfigError(
                f"arms.{name}.control={control!r} is not another arm; choose one of {others}."
            )
    return controls


def _choice(name: str, arm: Arm, task: Task) -> str | None:
    """Return the group of arms of which validation chooses one; None for no choice."""
    if arm.choice is not None and task.outputs == "vectors":
        raise ConfigError(
            f"arms.{name}: validation cannot choose among students for embeddings. Set choose=null "
            "to compare all arms."
        )
    if arm.choice is not None and not isinstance(arm.choice, str):
        raise ConfigError(
            f"arms.{name}.choice={arm.choice!r} should be the name of a group of arms."
        )
    return arm.choice


def controls_of(arm: ArmPlan, plans: Sequence[ArmPlan]) -> tuple[str, ...]:
    """Return the names of the arms to compare an arm with.

    If the arm names none, this is the first control that differs only in the objective, else the
    first with the same student and inputs, else the first with the same student. Controls are only
    compared with the arms that they name.
    """
    if arm.control or arm.is_control:
        return arm.control

    def same_student(plan: ArmPlan) -> bool:
        return plan.student == arm.student

    controls = [plan for plan in plans if plan.is_control]
    for matches in (arm.trains_like, arm.has_same_inputs_as, same_student):
        for control in controls:
            if matches(control):
                return (control.name,)
    return ()
