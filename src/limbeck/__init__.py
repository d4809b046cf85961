"""Knowledge distillation for PyTorch that trains the control too, and tests whether distillation
made the small model better.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from limbeck._base.threads import limit_spinning
from limbeck._base.version import __version__

if TYPE_CHECKING:
    from limbeck import data, deploy, evaluation, losses, models
    from limbeck.evaluation.evaluate import evaluate
    from limbeck.losses import Objective
    from limbeck.search.fit import fit
    from limbeck.store.settings import StoreSettings
    from limbeck.study.arms import Arm, Teacher
    from limbeck.study.options import RunOptions, Schedule
    from limbeck.study.study import Study
    from limbeck.teacher.answer_files.read import Answers
    from limbeck.training.fit import distill, train
    from limbeck.training.module import DistillationModule
    from limbeck.training.optimizer import Optimizer

__all__ = [
    "Answers",
    "Arm",
    "DistillationModule",
    "Objective",
    "Optimizer",
    "RunOptions",
    "Schedule",
    "StoreSettings",
    "Study",
    "Teacher",
    "__version__",
    "data",
    "deploy",
    "distill",
    "evaluate",
    "evaluation",
    "fit",
    "losses",
    "models",
    "train",
]

_HOMES = {
    "Answers": "limbeck.teacher.answer_files.read",
    "Arm": "limbeck.study.arms",
    "DistillationModule": "limbeck.training.module",
    "Objective": "limbeck.losses",
    "Optimizer": "limbeck.training.optimizer",
    "RunOptions": "limbeck.study.options",
    "Schedule": "limbeck.study.options",
    "StoreSettings": "limbeck.store.settings",
    "Study": "limbeck.study.study",
    "Teacher": "limbeck.study.arms",
    "distill": "limbeck.training.fit",
    "evaluate": "limbeck.evaluation.evaluate",
    "fit": "limbeck.search.fit",
    "train": "limbeck.training.fit",
}
_PACKAGES = ("data", "deploy", "evaluation", "losses", "models")

limit_spinning()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import limbeck`` does not wait for
    torch.
    """
    if name in _PACKAGES:
        return import_module(f"limbeck.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
