"""Objectives and optimizers in one line, in the names of their settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limbeck.losses.soft import SOFT_LOSSES
from limbeck.report.formats import MISSING, is_number


def objective(settings: Mapping[str, Any]) -> str:
    """An objective, such as ``hard_weight 0.1, soft_weight 0.9, temperature 4, soft kl``."""
    hard_weight = settings.get("hard_weight")
    soft_weight = settings.get("soft_weight")
    guides = settings.get("features") or ()
    if not is_number(soft_weight):
        return _joined(f"{key} {value}" for key, value in settings.items())
    parts: list[str] = []
    if soft_weight == 0 and not guides:
        parts.append(_labels_only(hard_weight, settings.get("hard")))
    elif is_number(hard_weight):
        parts.append(f"hard_weight {hard_weight:.4g}")
    if soft_weight != 0:
        parts += [f"soft_weight {soft_weight:.4g}", *_soft_loss(settings)]
    if guides:
        parts.append(features(guides))
    if hard_weight != 0:
        parts += _hard_loss(settings)
    return _joined(parts)


def _labels_only(hard_weight: Any, hard: Any) -> str:
    source = "texts" if hard == "contrastive" else "labels"  # each text is its own label
    if is_number(hard_weight) and hard_weight != 1:
        return f"{source} only (hard_weight {hard_weight:.4g})"
    return f"{source} only"


def _soft_loss(settings: Mapping[str, Any]) -> list[str]:
    """Settings of the soft loss, apart from its weight."""
    parts = []
    kind = settings.get("soft")
    if is_number(settings.get("temperature")):
        parts.append(f"temperature {settings['temperature']:.4g}")
    if kind:
        parts.append(f"soft {kind}")
    loss = SOFT_LOSSES.get(str(kind))
    for setting in loss.settings if loss else ():
        if is_number(settings.get(setting.name)):
            parts.append(f"{setting.name} {settings[setting.name]:.4g}")
    if settings.get("standardise"):
        parts.append("standardised")
    if settings.get("shuffled"):
        parts.append("shuffled teacher")
    if settings.get("scale_by_t2") is False:
        parts.append("not scaled by T²")
    return parts


def _hard_loss(settings: Mapping[str, Any]) -> list[str]:
    """Settings of the hard loss that are not those of the plain cross-entropy."""
    parts = []
    kind = settings.get("hard", "cross_entropy")
    weights = settings.get("class_weights")
    if kind != "cross_entropy":
        parts.append(f"hard {kind}")
    if weights:
        text = weights if isinstance(weights, str) else " ".join(f"{w:.4g}" for w in weights)
        parts.append(f"class weights {text}")
    if settings.get("label_smoothing"):
        parts.append(f"label_smoothing {settings['label_smoothing']:.4g}")
    return parts


def features(guides: Sequence[Mapping[str, Any]]) -> str:
    """Layers that guide the student: ``hint features.2 from features.5 (weight 1)``."""
    return ", ".join(
        f"{guide['kind']} {guide['student']} from {guide['teacher']} (weight {guide['weight']:.4g})"
        for guide in guides
    )


def optimizer(settings: Mapping[str, Any]) -> str:
    """An optimizer, such as ``adam, lr 0.001, one_cycle``."""
    parts = []
    if settings.get("name"):
        parts.append(str(settings["name"]))
    if is_number(settings.get("lr")):
        parts.append(f"lr {settings['lr']:.4g}")
    if settings.get("weight_decay"):
        parts.append(f"weight_decay {settings['weight_decay']:.4g}")
    if settings.get("schedule"):
        parts.append(str(settings["schedule"]))
    if settings.get("averaging"):
        parts.append(f"averaging {settings['averaging']}")
    return _joined(parts)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts) or MISSING
