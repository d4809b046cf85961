"""Next steps for the reader of a report, as commands to copy."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.errors import UntrustedFileError
from limbeck._base.printable import path_from_here, printable
from limbeck.evaluation.measure import measure_of
from limbeck.report.families import is_control
from limbeck.report.formats import seeds_and_splits
from limbeck.report.wording import splits_for
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest
from limbeck.run.summary import ArmResult, Summary

ENOUGH_SEEDS = 5
"""Number of seeds below which a verdict is weak."""
MAX_SEEDS = 100
TEMPERATURES = "1,2,4,8"


@dataclass(frozen=True)
class Step:
    """A next step.

    Attributes:
        text: Purpose of the command.
        command: Command of a shell, or code in Python.
    """

    text: str
    command: str

    @property
    def lines(self) -> str:
        """The command with unprintable characters made visible."""
        return "\n".join(map(printable, self.command.splitlines()))


def next_steps(folder: RunFolder, summary: Summary, manifest: Manifest) -> list[Step]:
    """Suggest what to do with the students, or how to reach a verdict."""
    main = summary.main_comparison
    is_decided = main is not None and main.verdict != "not shown"
    studies = _better_studies(summary, manifest)
    uses = _uses(folder, summary)
    return [*uses, *studies] if is_decided else [*studies, *uses]


def _uses(folder: RunFolder, summary: Summary) -> list[Step]:
    """Uses of the best student that is still in the run folder."""
    arm = _arm_to_use(summary)
    student = _student(folder, arm, summary) if arm is not None and arm.seeds else None
    if arm is None or student is None:
        return []
    run = path_from_here(folder.path)
    file = path_from_here(student)
    code = f"from limbeck.models import load_model\nmodel = load_model({file!r}).model"
    steps = [Step(f"Load {arm.name} in Python:", code)]
    if summary.measure == "bits_per_byte":
        return steps
    steps.append(_export(folder, run, arm.name))
    if folder.examples.is_file():
        demo = shlex.join(["limbeck", "demo", run])
        models = (
            "teacher, control and student" if summary.answers is None else "control and student"
        )
        steps.append(Step(f"Try {models} on your own drawings:", demo))
    if not folder.cost.is_file():
        cost = shlex.join(["limbeck", "cost", run])
        steps.append(Step("Measure size, memory and speed on this machine:", cost))
    return steps


def _export(folder: RunFolder, run: str, arm: str) -> Step:
    """The export of a student; of a search, whose student is exported already, its check."""
    bundle = folder.path / "bundle"
    if folder.search.is_file() and bundle.is_dir():
        verify = shlex.join(["limbeck", "verify", path_from_here(bundle)])
        return Step("Check the exported student, here or with its run.py on the device:", verify)
    export = shlex.join(["limbeck", "export", run, f"arm={arm}"])
    return Step(f"Export {arm} to ONNX, for other programs and devices:", export)


def _student(folder: RunFolder, arm: ArmResult, summary: Summary) -> Path | None:
    """The folder of the arm's best seed on the validation split; None if there is none."""
    try:
        student = folder.student(arm.name, _seed(arm, summary))
    except UntrustedFileError:  # the name is not that of a folder
        return None
    return student if student.is_dir() else None


def _arm_to_use(summary: Summary) -> ArmResult | None:
    """The arm of the headline, or its control if that is better; None without a headline."""
    main = summary.main_comparison
    if main is None:
        return summary.arms[0] if len(summary.arms) == 1 else None
    name = main.control if main.verdict == "hurts" else main.arm
    return next((arm for arm in summary.arms if arm.name == name), None)


def _seed(arm: ArmResult, summary: Summary) -> int:
    """The best seed on the validation split."""
    measure = measure_of(summary)

    def result(number: int) -> float:
        value = measure.value(arm.seeds[number].val)
        return float("inf") if value is None else value

    return arm.seeds[min(range(len(arm.seeds)), key=result)].seed


# Better studies -----------------------------------------------------------------------------------


def _better_studies(summary: Summary, manifest: Manifest) -> list[Step]:
    if summary.quick:
        command = _command(manifest, without=("quick",))
        return [Step("This was a smoke test. Run the study itself:", command)] if command else []
    main = summary.main_comparison
    if main is None:
        return []
    steps = []
    seeds = _seeds(summary)
    if seeds:
        splits = splits_for(seeds, summary)
        settings = [f"seeds={seeds}"]
        if splits is not None:
            settings.append(f"splits={splits}")
        command = _command(manifest, without=("seeds", "splits"), extra=settings)
        what = "search and study" if manifest.facts.get("verb") == "fit" else "the study"
        text = f"Repeat {what} with {seeds_and_splits(seeds, splits)}, for a firmer verdict:"
        steps.append(Step(text, command or f"study = Study(..., seeds={seeds})"))
    if main.verdict != "helps" and _can_sweep(summary, manifest):
        extra = (f"objective.temperature={TEMPERATURES}",)
        command = _command(manifest, without=("objective.temperature",), extra=extra, sweep=True)
        if command:
            text = "Try other temperatures; the best is chosen on validation:"
            steps.append(Step(text, command))
    return steps


def _seeds(summary: Summary) -> int:
    """A number of seeds that is worth a new study; 0 if more seeds are not worth it."""
    main = summary.main_comparison
    seeds = max((len(arm.seeds) for arm in summary.arms), default=0)
    needed = None if main is None else main.needed
    if main is not None and main.verdict == "not shown" and needed is not None:
        return needed.seeds if needed.seeds and seeds < needed.seeds <= MAX_SEEDS else 0
    per_split = seeds // summary.splits if summary.splits else 1
    return per_split * math.ceil(ENOUGH_SEEDS / per_split) if seeds < ENOUGH_SEEDS else 0


def _can_sweep(summary: Summary, manifest: Manifest) -> bool:
    """Whether the command trained one distilled arm and its control."""
    is_pair = len(summary.arms) == 2 and sum(map(is_control, summary.arms)) == 1
    has_teacher = summary.teacher is not None
    if summary.answers is not None:
        has_teacher = summary.answers.kind != "labels"  # which have no temperature
    has_temperature = summary.measure not in ("squared_error", "missed_neighbours")
    return (
        is_pair
        and has_teacher
        and has_temperature
        and bool(manifest.facts.get("command"))
        and not _is_sweep(manifest)
        and manifest.facts.get("verb") != "fit"  # which has searched for a temperature
    )


def _is_sweep(manifest: Manifest) -> bool:
    return bool(manifest.facts.get("multirun"))


def _command(
    manifest: Manifest,
    *,
    without: Sequence[str] = (),
    extra: Sequence[str] = (),
    sweep: bool = False,
) -> str:
    """The command of the run with other settings, into a new folder; empty if it is unknown."""
    facts = manifest.facts
    if facts.get("verb") not in ("run", "distill", "fit") or manifest.overrides is None:
        return ""
    words = ["limbeck", str(facts["verb"])]
    if sweep or _is_sweep(manifest):
        words.append("-m")
    if facts.get("config_dir"):
        words += ["--config-dir", str(facts["config_dir"])]
    dropped = {"out", "overwrite", *without}
    for override in manifest.overrides:
        if override.lstrip("+~").partition("=")[0] not in dropped:
            words.append(override)
    return shlex.join([*words, *extra])
