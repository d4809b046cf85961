"""Findings of an examination: what is wrong, the evidence, and the line that mends it."""

from collections.abc import Iterable
from dataclasses import dataclass

STOP, WARNING, NOTE = "stop", "warning", "ok"
LEVELS = (STOP, WARNING, NOTE)
"""Levels of findings, the most serious first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check of a teacher, of the data or of a loss.

    Attributes:
        level: One of :data:`LEVELS`.
        subject: Part of the study: ``teacher``, ``data`` or ``loss``.
        text: Sentence that says what is wrong, or that all is well.
        evidence: Sentence with the numbers behind it; empty if the text has them.
        remedy: Line to add to the command, or line of Python, that mends it; empty if there is
            none.
    """

    level: str
    subject: str
    text: str
    evidence: str = ""
    remedy: str = ""

    @property
    def message(self) -> str:
        """The finding as sentences, for errors and warnings."""
        parts = [self.text, self.evidence]
        if self.remedy:
            parts.append(f"To mend it: {self.remedy}")
        return " ".join(part for part in parts if part)


def with_level(findings: Iterable[Finding], level: str) -> list[Finding]:
    """Return the findings of a level."""
    return [finding for finding in findings if finding.level == level]
