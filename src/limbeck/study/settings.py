"""The settings of a study defined in Python, which has no ``config.yaml`` of its own."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from limbeck._base.checks import without_addresses

if TYPE_CHECKING:
    from limbeck.study.arms import ArmPlan
    from limbeck.study.study import Study


def settings_of(study: "Study") -> dict[str, Any]:
    """Describe a study as plain values, identical in every process."""
    store = {key: value for key, value in asdict(study.store).items() if key != "folder"}
    settings = {
        "recipe": study.options.name,
        "data": study.data.name,
        "arms": {plan.name: _arm_settings(study, plan) for plan in study.plans},
        "seeds": study.seeds,
        "epochs": study.schedule.epochs,
        "batch_size": study.schedule.batch_size,
        "optimizer": vars(study.schedule.optimizer),
        "trainer": dict(study.options.trainer),
        "store": store,
    }
    for name in ("bias", "margin"):
        if getattr(study.options, name) is not None:
            settings[name] = getattr(study.options, name)
    if study.options.splits != 1:
        settings["splits"] = study.options.splits
    return settings


def _arm_settings(study: "Study", plan: "ArmPlan") -> dict[str, Any]:
    views = json.dumps(plan.views.settings())
    settings: dict[str, Any] = {
        "objective": plan.objective.as_dict(),
        "views": json.loads(without_addresses(views)),
        "transfer": plan.transfer.name,
    }
    if plan.transfer.source is not None:
        settings["source"] = plan.transfer.settings()["source"]
    if plan.optimizer != study.schedule.optimizer:
        settings["optimizer"] = vars(plan.optimizer)
    if plan.choice is not None:
        settings["choice"] = plan.choice
    if plan.epochs != study.epochs:
        settings["epochs"] = plan.epochs
    return settings
