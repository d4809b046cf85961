"""The small print of a report: what the arms learned from, what they shared, and the machine."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.formats import MISSING, count, known
from limbeck.report.judged_by import measure_of
from limbeck.report.wording import objective as in_words
from limbeck.report.wording import optimizer


def objective(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, str]:
    """What an arm learns from and how, for the table of objectives."""
    return {
        "name": arm["name"],
        "objective": in_words(arm["objective"]),
        "transfer": arm["transfer"],
        "views": str(arm.get("views") or MISSING),
        "epochs": str(_epochs(arm, summary) or MISSING),
        "optimizer": optimizer(arm.get("optimizer") or {}),
    }


def epochs_differ(summary: Mapping[str, Any]) -> bool:
    """Whether some arms train for more epochs than others."""
    return len({_epochs(arm, summary) for arm in summary["arms"]}) > 1


def _epochs(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> Any:
    return arm.get("epochs", summary.get("epochs"))


def settings(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of what all arms share."""
    seeds = sorted({seed["seed"] for arm in summary["arms"] for seed in arm["seeds"]})
    epochs = {_epochs(arm, summary) for arm in summary["arms"]} or {summary.get("epochs")}
    pairs = [
        ("Recipe", summary["recipe"]),
        *measure_of(summary).settings(summary["data"]),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Epochs", None if len(epochs) > 1 else epochs.pop()),
        ("Batch size", summary.get("batch_size")),
        ("Teacher's answers", teachers_answers(summary, manifest)),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def teachers_answers(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """How they were stored: ``sampled, 12 of 256 tokens, 36 bytes a token``; empty where the
    manifest does not say.
    """
    stores = manifest.get("stores")
    found = [
        _store(store, summary) for store in (stores.values() if isinstance(stores, dict) else ())
    ]
    return "; ".join(dict.fromkeys(filter(None, found)))


def _store(store: Any, summary: Mapping[str, Any]) -> str:
    if not isinstance(store, dict) or not isinstance(store.get("kind"), str):
        return ""
    classes, answer = (
        ("tokens", "token") if "tokenizer" in summary["data"] else ("classes", "answer")
    )
    parts = ["top-K" if store["kind"] == "topk" else store["kind"]]
    if store.get("k"):
        parts.append(f"{count(store['k'])} of {summary['data']['classes']:,} {classes}")
    if known(store.get("record_bytes")):
        parts.append(
            f"{count(store['record_bytes'])} bytes {'an' if answer == 'answer' else 'a'} {answer}"
        )
    return ", ".join(parts)


def machine(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says of program, machine and command, as far as it says it."""
    hardware = manifest.get("hardware")
    hardware = hardware if isinstance(hardware, dict) else {}
    versions = manifest.get("versions")
    devices = hardware.get("devices")
    pairs = [
        ("Command", manifest.get("command")),
        ("Versions", _listed(versions)),
        ("Processor", hardware.get("cpu")),
        ("Cores", hardware.get("cores")),
        ("Memory", f"{hardware['memory_gib']} GiB" if hardware.get("memory_gib") else None),
        ("Devices", ", ".join(map(str, devices)) if isinstance(devices, list) else devices),
        ("Git commit", manifest.get("git_commit")),
        ("Started", manifest.get("started")),
        ("Finished", manifest.get("finished")),
        ("State", manifest.get("state")),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def _listed(versions: Any) -> str | None:
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {version}" for name, version in versions.items())
