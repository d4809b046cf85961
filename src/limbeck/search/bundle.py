"""Export of the student that a search has chosen."""

from dataclasses import dataclass
from pathlib import Path

from limbeck._base.errors import ConfigError
from limbeck._base.runtime.file_names import KINDS
from limbeck.data import Dataset
from limbeck.deploy.export import ExportOptions, ExportResult, export
from limbeck.report.formats import file_size
from limbeck.report.page import write_report
from limbeck.run.folder import RunFolder
from limbeck.run.remote import remote_run
from limbeck.run.search import Search, read_search


@dataclass(frozen=True)
class ChoiceExport:
    """Bundle of the student that a search has chosen.

    Attributes:
        export: Result of the export.
        warnings: Sentences about a model of the bundle that is missing, or larger than the budget;
            empty without such a model.
    """

    export: ExportResult
    warnings: list[str]


def export_choice(
    run: str | Path, data: Dataset, options: ExportOptions | None = None, *, progress: bool = True
) -> ChoiceExport:
    """Export the best student of the final study, and compare the bundle with the budget.

    Args:
        run: Folder of a finished run with a search.
        data: Dataset of the run.
        options: Settings of the export; None for a bundle in the run folder.
        progress: Whether to show progress on standard error.

    Raises:
        ConfigError: If the run has no search, or as for :func:`limbeck.deploy.export.export`.
        ExportError: If the outputs of the exported model differ. Nothing is written.
    """
    folder = RunFolder(run)
    search = read_search(folder)
    if search is None:
        raise ConfigError(f"{folder.path} has no search. Use limbeck.deploy.export.export.")
    result = export(run, data, options, progress=progress)
    with folder.keep_unchanged():
        write_report(folder.path)
    remote = remote_run(folder.path)
    if remote is not None:
        remote.upload_outputs()
    return ChoiceExport(result, _warnings(search, result))


def _warnings(search: Search, result: ExportResult) -> list[str]:
    file = result.folder / KINDS[search.precision]
    if not file.is_file():
        return [
            f"The budget is one of the {search.precision} model, which was left out of the bundle: "
            f"{result.note} The {KINDS['fp32']} in the bundle may be over the budget."
        ]
    size, limit = file.stat().st_size, search.limits.get("size")
    if limit is not None and size > limit:
        return [
            f"{file.name} has {file_size(size)}, more than the budget of {file_size(limit)}: "
            "training changed its size."
        ]
    return []
