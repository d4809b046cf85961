"""The settings of a study and its machine, for the end of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.report import objectives
from limbeck.report.formats import MISSING, count, is_number
from limbeck.report.measure_wording import wording_of
from limbeck.run.manifest import Manifest, StoreUse
from limbeck.run.summary import ArmResult, DataFacts, Summary


@dataclass(frozen=True)
class ArmSettings:
    """What an arm learns from, as text.

    Attributes:
        name: Name of the arm.
        objective: Objective in one line.
        transfer: Transfer set.
        views: Views.
        epochs: Number of training epochs.
        optimizer: Optimizer in one line.
    """

    name: str
    objective: str
    transfer: str
    views: str
    epochs: str
    optimizer: str


def arm_settings(summary: Summary) -> list[ArmSettings]:
    """The settings of all arms."""
    return [
        ArmSettings(
            name=arm.name,
            objective=objectives.objective(arm.objective),
            transfer=arm.transfer,
            views=arm.views or MISSING,
            epochs=str(_epochs(arm, summary) or MISSING),
            optimizer=objectives.optimizer(arm.optimizer),
        )
        for arm in summary.arms
    ]


def _epochs(arm: ArmResult, summary: Summary) -> int | None:
    return summary.epochs if arm.epochs is None else arm.epochs


def common_settings(summary: Summary, manifest: Manifest) -> list[tuple[str, str]]:
    """Names and values of the settings that all arms have in common."""
    seeds = sorted({seed.seed for arm in summary.arms for seed in arm.seeds})
    epochs = {_epochs(arm, summary) for arm in summary.arms} or {summary.epochs}
    pairs = [
        ("Recipe", summary.recipe),
        *wording_of(summary).data_settings(summary.data),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Epochs", epochs.pop() if len(epochs) == 1 else None),
        ("Batch size", summary.batch_size),
        ("Teacher's answers", stored_answers(summary, manifest)),
    ]
    return _known(pairs)


def stored_answers(summary: Summary, manifest: Manifest) -> str:
    """How the teacher's answers were stored: ``sampled, 12 of 256 tokens, 36 bytes per token``.

    It is empty where the manifest does not say.
    """
    stores = [_store(store, summary.data) for store in (manifest.stores or {}).values()]
    return "; ".join(dict.fromkeys(store for store in stores if store))


def _store(store: StoreUse, data: DataFacts) -> str:
    if store.kind is None:
        return ""
    is_text = data.tokenizer is not None
    parts = ["top-K" if store.kind == "topk" else store.kind]
    if store.k:
        classes = "tokens" if is_text else "classes"
        parts.append(f"{count(store.k)} of {data.classes:,} {classes}")
    if is_number(store.record_bytes):
        parts.append(f"{count(store.record_bytes)} bytes per {'token' if is_text else 'answer'}")
    return ", ".join(parts)


def machine(manifest: Manifest) -> list[tuple[str, str]]:
    """Names and values of what the manifest tells about the program and the machine."""
    hardware = manifest.hardware
    versions = [f"{name} {version}" for name, version in manifest.versions.items()]
    pairs: list[tuple[str, object]] = [
        ("Command", manifest.facts.get("command")),
        ("Versions", ", ".join(versions)),
    ]
    if hardware is not None:
        memory = None if hardware.memory_gib is None else f"{hardware.memory_gib} GiB"
        pairs += [
            ("Processor", hardware.cpu),
            ("Cores", hardware.cores),
            ("Memory", memory),
            ("Devices", ", ".join(hardware.devices)),
        ]
    pairs += [
        ("Git commit", manifest.git_commit),
        ("Started", manifest.started),
        ("Finished", manifest.finished),
        ("State", manifest.state),
    ]
    return _known(pairs)


def _known(pairs: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
