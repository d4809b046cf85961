"""Which student of a run leaves: the one that is named, or the best distilled one on the validation
split.
"""

from collections.abc import Mapping
from typing import Any

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset


def choose_student(
    summary: Mapping[str, Any], arm: str | None = None, seed: int | None = None
) -> tuple[str, int]:
    """Arm and seed of the student to take; nothing is chosen on the test split.

    Args:
        summary: of the run.
        arm: None for the distilled arm with the fewest validation errors in the mean over seeds
            (the lowest NLL where they are equal, and of text at once; a control only where there is
            nothing else).
        seed: None for the one with the fewest validation errors in its arm, likewise.

    Raises:
        ConfigError: there is no such student.
    """
    arms, text = (
        {entry["name"]: entry for entry in summary["arms"]},
        summary.get("measure") == "bits_per_byte",
    )
    if not arms:
        raise ConfigError("This run has no students to take: it trained a teacher alone.")
    if arm is None:
        negative = {
            name for name, entry in arms.items() if entry.get("objective", {}).get("shuffled")
        }
        distilled = {
            name: entry
            for name, entry in arms.items()
            if not (entry.get("control") or name in negative)
        }
        arm = min(distilled or arms, key=lambda name: _mean(arms[name]["seeds"], text))
    elif arm not in arms:
        near = closest(arm, arms)
        hint = f"; did you mean {near}?" if near else "."
        raise ConfigError(f"arm={arm} is no arm of this run{hint} It has {', '.join(arms)}.")
    seeds = {entry["seed"]: entry for entry in arms[arm]["seeds"]}
    if seed is None:
        seed = min(seeds, key=lambda number: _mean([seeds[number]], text))
    elif seed not in seeds:
        raise ConfigError(
            f"seed={seed} is no seed of arm {arm}, which has {', '.join(map(str, seeds))}."
        )
    return arm, seed


def _mean(seeds: list[Mapping[str, Any]], text: bool) -> tuple[float, float]:
    """Mean validation errors, which of text do not count, and NLL."""
    errors, nll = ([entry["val"][key] for entry in seeds] for key in ("errors", "nll"))
    mean_nll = sum(n if n is not None else float("inf") for n in nll) / len(nll)
    return 0.0 if text else sum(errors) / len(errors), mean_nll


def check_no_text(data: Dataset, verb: str) -> None:
    """Refuse language models where classifiers are expected.

    Raises:
        ConfigError: the data is text.
    """
    if data.tokenizer is not None:
        raise ConfigError(
            f"limbeck {verb} is for classifiers, and {data.name} is text. The students of this run "
            "are in its folder "
            "students/, as model.safetensors; limbeck sample lets them write."
        )
