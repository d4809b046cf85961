"""The settings of a study and facts about its machine, for the end of the page."""

from collections.abc import Sequence

from limbeck.report.formats import count, is_number
from limbeck.report.measure_wording import wording_of
from limbeck.run.manifest import Manifest, StoreUse
from limbeck.run.summary import ArmResult, DataFacts, Summary


def epochs_of(arm: ArmResult, summary: Summary) -> int | None:
    """The number of training epochs of an arm; None if it is unknown."""
    return summary.epochs if arm.epochs is None else arm.epochs


def common_settings(summary: Summary, manifest: Manifest) -> list[tuple[str, str]]:
    """Names and values of the settings that all arms share."""
    seeds = sorted({seed.seed for arm in summary.arms for seed in arm.seeds})
    epochs = {epochs_of(arm, summary) for arm in summary.arms} or {summary.epochs}
    pairs = [
        ("Recipe", summary.recipe),
        *wording_of(summary).data_settings(summary.data),
        ("Columns", _columns(summary.data)),
        ("Inputs", summary.data.normalization),
        ("Tokenizer of the texts", summary.data.texts_tokenizer),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Splits", summary.splits),
        ("Epochs", epochs.pop() if len(epochs) == 1 else None),
        ("Batch size", summary.batch_size),
        ("Teacher's answers", stored_answers(summary, manifest)),
    ]
    return _without_empty(pairs)


def _columns(data: DataFacts) -> str:
    """The kinds of columns, such as ``12 of numbers, 3 of categories; 2 with missing values``."""
    columns = data.columns or ()
    categories = len([column for column in columns if column.categories is not None])
    with_gaps = len([column for column in columns if column.gaps])
    kinds = {"of numbers": len(columns) - categories, "of categories": categories}
    text = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number)
    return f"{text}; {with_gaps:,} with missing values" if with_gaps else text


def stored_answers(summary: Summary, manifest: Manifest) -> str:
    """The format of the stored answers, such as ``sampled, 12 of 256 tokens, 36 bytes per token``.

    It is empty if the manifest does not record it.
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
    """Names and values of the manifest's facts about the program and the machine."""
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
    return _without_empty(pairs)


def _without_empty(pairs: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
