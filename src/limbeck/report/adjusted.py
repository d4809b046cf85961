"""Students with constants added to their logits, as text: beside the results as trained, never in
their place.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.report.formats import MISSING, mean_and_sd, nats, percent
from limbeck.report.wording import headline

_TITLES = {
    "prior": "With the biases set by the class prior (no label used)",
    "kappa": "With the biases set by the validation split's quadratic kappa",
}
_HOW = {
    "prior": "set by the class prior",
    "kappa": "set on validation",
    "chosen on test": "chosen on the test split*",
}
CHOSEN_NOTE = "* chosen where it is counted: how far one constant for the absent classes could go, and no result."


def title(summary: Mapping[str, Any]) -> str:
    """The heading of the table; empty where no constants were set."""
    how = next((entry["how"] for arm in summary["arms"] for entry in arm.get("adjusted", [])), None)
    return "" if how is None else _TITLES.get(how, f"With the biases set by {how}")


def heading(summary: Mapping[str, Any]) -> list[str]:
    """The columns: those of the absent classes only where there are any."""
    shares = ["recall of absent classes"] if _any_absent(summary) else []
    return ["arm", "biases", "errors", *(["kappa"] if _graded(summary) else []), *shares]


def rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Each arm as trained, with the constants that were set, and with those chosen on the test
    split.
    """
    found = []
    for arm in summary["arms"]:
        for entry in (
            [{"how": None, **arm}, *arm.get("adjusted", [])] if arm.get("adjusted") else []
        ):
            errors = mean_and_sd(entry["mean"]["errors"], entry["sd"]["errors"])
            row = [
                arm["name"],
                _HOW.get(entry["how"], entry["how"]) if entry["how"] else "as trained",
                errors,
            ]
            row += [nats(entry["mean"]["kappa"])] if _graded(summary) else []
            found.append(row + ([_recall(arm, entry["seeds"])] if _any_absent(summary) else []))
    return found


def sentences(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``(verdict, sentence)`` of each comparison of arms that both have their constants."""
    return [(c["verdict"], headline(c, summary)) for c in summary.get("adjusted_comparisons", [])]


def note(summary: Mapping[str, Any]) -> str:
    """What the star means; empty where nothing was chosen on the test split."""
    starred = any(
        entry["how"] == "chosen on test"
        for arm in summary["arms"]
        for entry in arm.get("adjusted", [])
    )
    return CHOSEN_NOTE if starred else ""


def _graded(summary: Mapping[str, Any]) -> bool:
    return any("kappa" in arm["mean"] for arm in summary["arms"])


def _any_absent(summary: Mapping[str, Any]) -> bool:
    return any(arm.get("absent") for arm in summary["arms"])


def _recall(arm: Mapping[str, Any], seeds: Sequence[Mapping[str, Any]]) -> str:
    """Mean over seeds of the mean recall of the absent classes."""
    shares = [
        seed["recall"][c]
        for seed in seeds
        for c in arm.get("absent") or []
        if seed["recall"][c] is not None
    ]
    return percent(sum(shares) / len(shares)) if shares else MISSING
